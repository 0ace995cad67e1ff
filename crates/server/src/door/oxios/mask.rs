//! Keys of this gateway have no business in what clients are shown of tools.

use std::borrow::Cow;

use serde_json::Value;

use crate::keys::PREFIXES;

/// What stands in a key's place.
const MASK: &str = "***";

/// The text with every key in it masked.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    let Some(at) = PREFIXES.iter().filter_map(|prefix| text.find(prefix)).min() else {
        return Cow::Borrowed(text);
    };
    let (before, key) = text.split_at(at);
    let end = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(key.len());
    Cow::Owned(format!("{before}{MASK}{}", self::text(&key[end..])))
}

/// The value with every key in its texts masked.
pub(super) fn value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(self::text(text).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(self::value).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, field)| (name.clone(), self::value(field))).collect())
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_wherever_they_stand() {
        assert_eq!(text("nothing"), "nothing");
        assert_eq!(text("a mg_api_0123_abc, mg_adm_x"), "a ***, ***");
        let found = value(&serde_json::json!({"a": ["Bearer mg_api_x"], "n": 1}));
        assert_eq!(found, serde_json::json!({"a": ["Bearer ***"], "n": 1}));
    }
}
