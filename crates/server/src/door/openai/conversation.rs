//! What a request brings along, in our words: instructions, what was said before, and what is said now.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use moongate_core::Ids;
use moongate_protocol::{CallId, ItemId, Part, Role, Said};
use serde_json::Value;

use super::failure::{Fault, Reply, quoted};

/// Said for a person where a request ends with the model's own words.
const GO_ON: &str = "(continue)";

/// A request's conversation.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    /// System and developer messages, joined.
    pub(super) instructions: Option<String>,
    /// What was said before, oldest first.
    pub(super) history: Vec<Said>,
    /// What is said now.
    pub(super) parts: Vec<Part>,
    /// The bytes behind images and files.
    pub(super) attachments: Vec<Bytes>,
}

/// Puts a conversation together from a request's messages, oldest first.
pub(super) struct Collector<'a> {
    ids: &'a Ids,
    instructions: Vec<String>,
    said: Vec<Said>,
    /// Our ids of the client's calls.
    calls: HashMap<String, CallId>,
    used: HashSet<CallId>,
    pub(super) attachments: Vec<Bytes>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(ids: &'a Ids) -> Self {
        Self {
            ids,
            instructions: Vec::new(),
            said: Vec::new(),
            calls: HashMap::new(),
            used: HashSet::new(),
            attachments: Vec::new(),
        }
    }

    /// What the system prompt says besides.
    pub(super) fn instruct(&mut self, text: String) {
        if !text.trim().is_empty() {
            self.instructions.push(text);
        }
    }

    /// What a person says.
    pub(super) fn person(&mut self, parts: Vec<Part>) {
        self.said.push(Said { role: Role::User, parts });
    }

    /// What the model said. One answer may come in pieces.
    pub(super) fn model(&mut self, parts: Vec<Part>) {
        match self.said.last_mut() {
            Some(Said { role: Role::Assistant, parts: before }) => before.extend(parts),
            _ => self.said.push(Said { role: Role::Assistant, parts }),
        }
    }

    /// A call the model asked for. A client that uses an id again means another call.
    pub(super) fn call(&mut self, id: &str, tool: String, arguments: &str) {
        let item = self.ids.make(ItemId::new);
        let call = id.parse().ok().filter(|call| !self.used.contains(call)).unwrap_or_else(|| self.fresh());
        self.used.insert(call.clone());
        self.calls.insert(id.to_owned(), call.clone());
        let arguments = match arguments.trim() {
            "" => Value::Object(serde_json::Map::new()),
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(arguments.to_owned())),
        };
        self.model(vec![Part::ToolCall { item, call, tool, arguments }]);
    }

    fn fresh(&self) -> CallId {
        let text = self.ids.make(ItemId::new).to_string().replacen(ItemId::PREFIX, "call_", 1);
        #[expect(clippy::expect_used, reason = "an item id's alphabet is within a call id's")]
        text.parse().expect("a call id")
    }

    /// What came of a call.
    pub(super) fn result(&mut self, id: &str, content: Vec<Part>) -> Reply<()> {
        let call = match self.calls.get(id) {
            Some(call) => call.clone(),
            None => id.parse().map_err(|_| Fault::invalid(format!("there is no call {:?}", quoted(id))))?,
        };
        self.person(vec![Part::ToolResult { call, content, is_error: false }]);
        Ok(())
    }

    /// The conversation, all of which was said before.
    pub(super) fn all(self) -> Reply<Conversation> {
        if !self.instructions.is_empty() {
            return Err(Fault::field(
                "items",
                "instructions come with each response, not with a conversation",
            ));
        }
        let (history, attachments) = (self.said, self.attachments);
        Ok(Conversation { history, attachments, ..Conversation::default() })
    }

    /// The conversation: what comes after the model's last words is said now.
    pub(super) fn finish(mut self) -> Reply<Conversation> {
        let now = self.said.iter().rposition(|said| said.role == Role::Assistant).map_or(0, |last| last + 1);
        let mut parts: Vec<Part> = self.said.split_off(now).into_iter().flat_map(|said| said.parts).collect();
        if parts.is_empty() {
            if self.said.is_empty() {
                return Err(Fault::invalid("nothing is said: send at least one message"));
            }
            parts.push(Part::text(GO_ON));
        }
        let instructions = (!self.instructions.is_empty()).then(|| self.instructions.join("\n\n"));
        Ok(Conversation { instructions, history: self.said, parts, attachments: self.attachments })
    }
}
