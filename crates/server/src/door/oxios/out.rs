//! What the stream is sent: frames with their numbers, neighbouring pieces of one text made one.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    frames::{Body, Framed, Reasoning, Word, encode},
    ids::Uuid,
};
use crate::door::shared::outbox::{FRAME_BYTES, MERGED_BYTES, Outgoing};

/// Something on its way to one socket.
#[derive(Debug)]
pub(super) enum Out {
    /// A frame of a turn.
    Turn(Box<Numbered>),
    /// Anything else.
    Other(Bytes),
}

/// A frame of a turn, with the number a client comes back with.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) body: Body,
    pub(super) seq: u64,
    pub(super) message: Uuid,
    pub(super) session: Arc<str>,
}

impl From<Word<'_>> for Out {
    fn from(word: Word<'_>) -> Self {
        Self::Other(encode(&word).into())
    }
}

impl Outgoing for Out {
    fn size(&self) -> usize {
        match self {
            Self::Turn(frame) => FRAME_BYTES + weight(&frame.body),
            Self::Other(text) => text.len(),
        }
    }

    /// The number of what was taken in counts: a client that comes back with it has seen both.
    fn merge(&mut self, next: &Self) -> bool {
        let (Self::Turn(last), Self::Turn(next)) = (self, next) else { return false };
        let (into, from) = match (&mut last.body, &next.body) {
            (Body::Token { content: into }, Body::Token { content: from }) => (into, from),
            (
                Body::Reasoning(Reasoning::Piece { content: into, .. }),
                Body::Reasoning(Reasoning::Piece { content: from, .. }),
            ) => (into, from),
            _ => return false,
        };
        let same = last.message == next.message && last.session == next.session;
        let merges = same && into.len() + from.len() <= MERGED_BYTES;
        if merges {
            into.push_str(from);
            last.seq = next.seq;
        }
        merges
    }

    fn encode(self) -> Bytes {
        match self {
            Self::Turn(frame) => {
                let Numbered { body, seq, message: message_id, session } = &*frame;
                let framed =
                    Framed { body, seq: *seq, message_id: *message_id, session_id: session, project_id: () };
                encode(&framed).into()
            }
            Self::Other(text) => text,
        }
    }
}

fn weight(body: &Body) -> usize {
    match body {
        Body::Token { content } | Body::Reasoning(Reasoning::Piece { content, .. }) => content.len(),
        Body::ToolStart { tool_args, .. } => weigh(tool_args),
        Body::ToolProgress { progress, .. } => progress.len(),
        Body::ToolEnd { output_summary, .. } => output_summary.len(),
        Body::ToolApproval { reason, resource, .. } => reason.len() + resource.len(),
        Body::Done(done) => done.tool_calls().iter().map(|call| weigh(&call.input) + call.output.len()).sum(),
        Body::Model { .. } | Body::Reasoning(_) | Body::Usage { .. } | Body::Error(_) => 0,
    }
}

/// About how many bytes a value takes as text.
fn weigh(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weigh).sum::<usize>() + items.len(),
        Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + weigh(field) + 4).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(content: &str, seq: u64, message: u128, session: &str) -> Out {
        let body = Body::Token { content: content.into() };
        Out::Turn(Box::new(Numbered { body, seq, message: Uuid(message), session: session.into() }))
    }

    #[test]
    fn pieces_of_one_turns_text_are_made_one_under_the_last_number() {
        let mut first = token("a", 1, 7, "s");
        assert!(first.merge(&token("b", 2, 7, "s")));
        for other in [token("c", 3, 8, "s"), token("c", 3, 7, "t"), Out::Other(Bytes::from_static(b"{}"))] {
            assert!(!first.merge(&other));
        }
        assert!(!token(&"x".repeat(MERGED_BYTES), 1, 7, "s").merge(&token("y", 2, 7, "s")));
        let text: serde_json::Value = serde_json::from_slice(&first.encode()).unwrap();
        assert_eq!(
            (&text["content"], &text["seq"], &text["session_id"]),
            (&"ab".into(), &2.into(), &"s".into())
        );
    }
}
