//! What a following client knows of a session; outlives its connections, and notes where a promise is broken.

use std::collections::HashMap;

use serde_json::Value;

use super::{api::Frame, ledger::ends_turn};
use crate::shell::Failed;

/// Broken promises that are kept.
const KEPT: usize = 5;

/// A client's view of one session.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) events: Vec<Value>,
    /// The text of each item, as deltas built it up.
    texts: HashMap<(String, String), String>,
    pub(super) ended_turns: usize,
    pub(super) deltas: usize,
    wrong: Vec<String>,
}

impl View {
    /// Takes in a frame.
    pub(super) fn take(&mut self, frame: Frame) {
        match frame.event.as_str() {
            "delta" => self.take_delta(&frame.data),
            "reset" => self.note(format!("a reset that nothing called for: {}", frame.data)),
            "notice" => {}
            _ => self.take_event(frame.data),
        }
    }

    /// Where to go on.
    pub(super) fn position(&self) -> Option<String> {
        self.events.last().map(super::api::position)
    }

    /// Holds the view against the log: the same events, and every text as its message has it.
    pub(super) fn verify(&self, log: &[Value]) -> Result<(), Failed> {
        if let Some(first) = self.wrong.first() {
            return Err(Failed::new(format!("{} broken promises, the first: {first}", self.wrong.len())));
        }
        match log.get(..self.events.len()) {
            Some(seen) if seen == self.events.as_slice() => Ok(()),
            _ => Err(Failed::new("a client saw other events than the log holds")),
        }
    }

    fn take_event(&mut self, event: Value) {
        let expected = self.events.len() as u64 + 1;
        if event["seq"] != expected {
            self.note(format!("event {} came where {expected} was due", event["seq"]));
            return;
        }
        if event["type"] == "message.completed" {
            self.complete(&event);
        }
        self.ended_turns += usize::from(ends_turn(&event));
        self.events.push(event);
    }

    /// What was shown of a message is what it begins with.
    fn complete(&mut self, event: &Value) {
        let parts = event["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text: String = parts
            .iter()
            .filter(|part| part["type"] == "text")
            .filter_map(|part| part["text"].as_str())
            .collect();
        let item = (word(event, "item"), "text".to_owned());
        if let Some(shown) = self.texts.remove(&item)
            && !text.starts_with(&shown)
        {
            self.note(format!("{shown:?} was shown of {text:?}"));
        }
    }

    /// `text = text[..offset] + delta.text`, and nothing else.
    fn take_delta(&mut self, delta: &Value) {
        self.deltas += 1;
        let text = self.texts.entry((word(delta, "item"), word(delta, "kind"))).or_default();
        let offset =
            delta["offset"].as_u64().and_then(|offset| usize::try_from(offset).ok()).unwrap_or(usize::MAX);
        let chars = text.chars().count();
        if offset > chars {
            self.note(format!("a delta leaves a hole after {chars} characters: {delta}"));
            return;
        }
        let kept = text.char_indices().nth(offset).map_or(text.len(), |(at, _)| at);
        text.truncate(kept);
        text.push_str(delta["text"].as_str().unwrap_or_default());
    }

    fn note(&mut self, what: String) {
        if self.wrong.len() < KEPT {
            self.wrong.push(what);
        }
    }
}

fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(frames: &[(&str, Value)]) -> View {
        let mut view = View::default();
        for (event, data) in frames {
            view.take(Frame { event: (*event).to_owned(), data: data.clone() });
        }
        view
    }

    fn event(seq: u64) -> (&'static str, Value) {
        ("turn.started", json!({ "seq": seq }))
    }

    fn delta(offset: u64, text: &str) -> (&'static str, Value) {
        ("delta", json!({ "item": "i", "kind": "text", "offset": offset, "text": text }))
    }

    #[test]
    fn gaps_repeats_holes_and_other_words_are_noted() {
        let log = [json!({ "seq": 1 }), json!({ "seq": 2 })];
        assert!(view(&[event(1), event(2)]).verify(&log).is_ok());
        assert!(view(&[event(1)]).verify(&log).is_ok());
        assert!(view(&[event(2)]).verify(&log).is_err(), "a gap");
        assert!(view(&[event(1), event(1)]).verify(&log).is_err(), "a repeat");
        assert!(view(&[delta(0, "ab"), delta(1, "x")]).verify(&log).is_ok());
        assert!(view(&[delta(0, "ab"), delta(3, "x")]).verify(&log).is_err(), "a hole");
        let message = json!({ "seq": 1, "type": "message.completed", "item": "i", "parts": [{ "type": "text", "text": "abc" }] });
        let log = [message.clone()];
        assert!(view(&[delta(0, "ab"), ("message.completed", message.clone())]).verify(&log).is_ok());
        assert!(view(&[delta(0, "ax"), ("message.completed", message)]).verify(&log).is_err(), "other words");
    }
}
