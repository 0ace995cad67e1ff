//! `reasoning_details`: what some routers want back with the tool calls that followed a thought.

use serde_json::{Map, Value};

/// Most bytes of text joined from pieces; real ones have a few kilobytes.
const MAX_BYTES: usize = 4 << 20;

/// The details of one answer, joined from their pieces.
#[derive(Debug, Default)]
pub(super) struct Details {
    entries: Vec<Map<String, Value>>,
    bytes: usize,
}

impl Details {
    /// Takes more pieces; a piece continues the last entry of its type and index.
    pub(super) fn push(&mut self, json: &str) {
        self.bytes += json.len();
        let pieces: Vec<Map<String, Value>> =
            if self.bytes <= MAX_BYTES { serde_json::from_str(json).unwrap_or_default() } else { Vec::new() };
        for piece in pieces {
            let same = |entry: &Map<String, Value>| {
                ["type", "index"].iter().all(|key| entry.get(*key) == piece.get(*key))
            };
            match self.entries.last_mut().filter(|entry| is_text(entry) && same(entry)) {
                Some(entry) => join(entry, piece),
                None => self.entries.push(piece),
            }
        }
    }

    /// All of it as JSON; `None` when there was nothing, or too much to be believed.
    pub(super) fn take(&mut self) -> Option<String> {
        let whole = !self.entries.is_empty() && self.bytes <= MAX_BYTES;
        let entries = std::mem::take(&mut self.entries);
        whole.then(|| serde_json::to_string(&entries).ok()).flatten()
    }
}

/// Encrypted entries come whole.
fn is_text(entry: &Map<String, Value>) -> bool {
    entry.contains_key("text") || entry.contains_key("summary")
}

fn join(entry: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (key, value) in piece {
        match (key.as_str(), entry.get_mut(&key), value) {
            (_, _, Value::Null) => {}
            ("text" | "summary", Some(Value::String(all)), Value::String(more)) => all.push_str(&more),
            (_, _, value) => {
                entry.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_of_a_thought_are_joined_and_others_kept() {
        let mut details = Details::default();
        details.push(r#"[{"type":"reasoning.text","text":"a","index":0,"signature":null}]"#);
        details.push(r#"[{"type":"reasoning.text","text":"b","index":0}]"#);
        details.push(r#"[{"type":"reasoning.text","signature":"s","index":0}]"#);
        details.push(r#"[{"type":"reasoning.encrypted","data":"x","index":1},{"type":"reasoning.encrypted","data":"y","index":1}]"#);
        details.push("7");
        let all: Value = serde_json::from_str(&details.take().unwrap()).unwrap();
        let expected = json!([
            {"type": "reasoning.text", "text": "ab", "index": 0, "signature": "s"},
            {"type": "reasoning.encrypted", "data": "x", "index": 1},
            {"type": "reasoning.encrypted", "data": "y", "index": 1},
        ]);
        assert_eq!(all, expected);
        assert_eq!(details.take(), None);
    }
}
