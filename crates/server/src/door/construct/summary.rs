//! A tool call's arguments in a few words, and decisions a person types.

use moongate_protocol::{ApprovalId, Decision};
use serde_json::Value;

/// Longest summary, in characters.
const SUMMARY_CHARS: usize = 200;

/// The arguments in a few words: the only text alone, or all of them as JSON.
pub(super) fn of(args: &Value) -> String {
    let text = match args {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.values().collect::<Vec<_>>()[..] {
            [Value::String(text)] => text.clone(),
            _ => args.to_string(),
        },
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut chars = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut short: String = chars.by_ref().take(SUMMARY_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// What a person decides with a typed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) approval: ApprovalId,
    pub(super) decision: Decision,
    /// Also the next times, in this session.
    pub(super) always: bool,
}

/// The decision a message is, when its whole text is one.
pub(super) fn typed(content: &str) -> Option<Typed> {
    let (word, id) = content.trim().split_once(' ')?;
    let (decision, always) = match word {
        "/approve" => (Decision::Approve, false),
        "/always" => (Decision::Approve, true),
        "/deny" => (Decision::Deny, false),
        _ => return None,
    };
    Some(Typed { approval: id.parse().ok()?, decision, always })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_text_stands_alone_and_long_ones_are_cut() {
        assert_eq!(of(&json!({ "command": "git push" })), "git push");
        assert_eq!(of(&json!({ "a": 1, "b": "x" })), r#"{"a":1,"b":"x"}"#);
        assert_eq!(of(&json!({ "a": "x\ny" })), "x\u{fffd}y");
        assert_eq!(of(&json!({ "a": "z".repeat(500) })).chars().count(), SUMMARY_CHARS + 1);
    }

    #[test]
    fn only_a_whole_text_is_a_decision() {
        let id = ApprovalId::from_bits(7);
        let typed = |text: String| typed(&text);
        let approve = Typed { approval: id, decision: Decision::Approve, always: false };
        assert_eq!(typed(format!(" /approve {id}\n")), Some(approve));
        assert_eq!(typed(format!("/always {id}")), Some(Typed { always: true, ..approve }));
        assert_eq!(typed(format!("/deny {id}")).map(|t| t.decision), Some(Decision::Deny));
        for other in [format!("/approve  {id}"), format!("please /approve {id}"), "/approve x".into()] {
            assert_eq!(typed(other), None);
        }
    }
}
