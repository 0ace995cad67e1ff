//! Tool arguments and schemas in the shapes every provider takes.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// A call's arguments as an object, whatever the model wrote.
pub(crate) struct Arguments<'a>(pub(crate) &'a Value);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match self.0 {
            Value::Object(_) => return self.0.serialize(serializer),
            Value::Null => return serializer.serialize_map(Some(0))?.end(),
            Value::String(_) => "not_json",
            _ => "value",
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(name, self.0)?;
        map.end()
    }
}

/// A tool's parameters: always an object schema, always with properties.
pub(crate) struct Schema<'a>(pub(crate) &'a Value);

impl Serialize for Schema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let given = self.0.as_object();
        if !given.is_some_and(|given| given.contains_key("type")) {
            map.serialize_entry("type", "object")?;
        }
        for (key, value) in given.into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        if !given.is_some_and(|given| given.contains_key("properties")) {
            map.serialize_entry("properties", &serde_json::Map::new())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_always_an_object() {
        let written = |value: Value| serde_json::to_value(Arguments(&value)).unwrap();
        assert_eq!(written(json!({"a": 1})), json!({"a": 1}));
        assert_eq!(written(Value::Null), json!({}));
        assert_eq!(written(json!("{\"a\":")), json!({"not_json": "{\"a\":"}));
        assert_eq!(written(json!([1])), json!({"value": [1]}));
    }

    #[test]
    fn schemas_are_always_of_an_object() {
        let written = |value: Value| serde_json::to_value(Schema(&value)).unwrap();
        assert_eq!(written(json!({})), json!({"type": "object", "properties": {}}));
        let whole = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        assert_eq!(written(whole.clone()), whole);
    }
}
