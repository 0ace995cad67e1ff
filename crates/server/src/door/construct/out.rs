//! What a chat socket is sent: frames, neighbouring pieces of text made one, and probes that show what arrived.

use bytes::Bytes;

use super::frames::{Frame, Text, Word};
use crate::door::shared::outbox::{FRAME_BYTES, MERGED_BYTES, Outgoing};

/// Something on its way to one socket.
#[derive(Debug)]
pub(super) enum Out {
    Frame(Box<Frame>),
    /// Asks whether all before it arrived; the answer has its number.
    Probe(u64),
}

impl From<Frame> for Out {
    fn from(frame: Frame) -> Self {
        Self::Frame(Box::new(frame))
    }
}

impl Outgoing for Out {
    fn size(&self) -> usize {
        match self {
            Self::Frame(frame) => FRAME_BYTES + weight(&frame.word),
            Self::Probe(_) => 0,
        }
    }

    fn merge(&mut self, next: &Self) -> bool {
        let (Self::Frame(last), Self::Frame(next)) = (self, next) else { return false };
        let same = last.turn_id == next.turn_id && last.replay == next.replay && last.seq == next.seq;
        let (into, from) = match (&mut last.word, &next.word) {
            (Word::Chunk(into), Word::Chunk(from)) | (Word::Thinking(into), Word::Thinking(from)) => {
                (into, from)
            }
            _ => return false,
        };
        let follows = into.offset + into.content.len() == from.offset;
        let merges = same && follows && into.content.len() + from.content.len() <= MERGED_BYTES;
        if merges {
            into.content.push_str(&from.content);
        }
        merges
    }

    fn is_probe(&self) -> bool {
        matches!(self, Self::Probe(_))
    }

    fn encode(self) -> Bytes {
        match self {
            Self::Frame(frame) => encode(&frame),
            Self::Probe(number) => Bytes::copy_from_slice(&number.to_be_bytes()),
        }
    }
}

/// The number of a probe, from its answer.
pub(super) fn probe_of(answer: &[u8]) -> Option<u64> {
    answer.try_into().ok().map(u64::from_be_bytes)
}

/// Whether a frame is the last one of a turn.
pub(super) fn is_end(word: &Word) -> bool {
    matches!(word, Word::Done(_) | Word::Error(_) | Word::Aborted(_))
}

fn weight(word: &Word) -> usize {
    match word {
        Word::Chunk(Text { content, .. }) | Word::Thinking(Text { content, .. }) => content.len(),
        Word::ToolResult(result) => result.output.len(),
        Word::Done(done) => done.full_response.len(),
        Word::TurnSnapshot(snapshot) => snapshot.text.len() + snapshot.thinking.len(),
        Word::UserMessage(message) => message.content.len(),
        _ => 0,
    }
}

fn encode(frame: &Frame) -> Bytes {
    match serde_json::to_vec(frame) {
        Ok(text) => text.into(),
        Err(error) => {
            tracing::error!(%error, "a frame could not be written as JSON");
            Bytes::from_static(
                br#"{"type":"error","message":"Something failed inside the gateway.","code":"AGENT_ERROR","reason":"internal","retryable":true,"retry_after":null}"#,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(content: &str, offset: usize) -> Out {
        Frame::bare(Word::Chunk(Text { content: content.into(), offset })).into()
    }

    #[test]
    fn only_pieces_that_follow_each_other_are_made_one() {
        let mut first = chunk("a", 0);
        assert!(first.merge(&chunk("b", 1)));
        for other in [chunk("d", 3), Frame::bare(Word::Pong).into(), Out::Probe(1)] {
            assert!(!first.merge(&other));
        }
        assert!(!Out::Probe(1).merge(&chunk("a", 0)));
        assert_eq!(first.encode(), r#"{"type":"chunk","content":"ab","offset":0}"#);
        assert!(!chunk(&"x".repeat(MERGED_BYTES), 0).merge(&chunk("y", MERGED_BYTES)));
    }

    #[test]
    fn the_answer_to_a_probe_names_it() {
        assert_eq!(probe_of(&Out::Probe(7).encode()), Some(7));
        assert_eq!(probe_of(b""), None);
    }
}
