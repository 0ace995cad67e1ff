//! Frames on their way to one socket: bounded, neighbouring pieces of text merged.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{
    frames::{Frame, Text, Word},
    settings::Bounds,
};

/// About what a frame weighs besides its text, in bytes.
const FRAME_BYTES: usize = 256;
/// Longest text one frame is merged to, in bytes.
const MERGED_BYTES: usize = 64 << 10;

/// What waits for a socket.
pub(super) struct Outbox {
    frames: VecDeque<Out>,
    bytes: usize,
    most_frames: usize,
    most_bytes: usize,
}

enum Out {
    Frame(Box<Frame>, usize),
    Ping,
}

impl Outbox {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let (most_frames, most_bytes) = (bounds.send_frames, bounds.send_bytes);
        Self { frames: VecDeque::new(), bytes: 0, most_frames, most_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether what waits is more than it may be: then it has to go out before more is taken in.
    pub(super) fn is_full(&self) -> bool {
        // One frame alone is never too much.
        self.frames.len() > self.most_frames || self.bytes > self.most_bytes && self.frames.len() > 1
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, frame: Frame) {
        let Some(frame) = self.merged(frame) else { return };
        let weight = FRAME_BYTES + weight(&frame.word);
        self.bytes += weight;
        self.frames.push_back(Out::Frame(Box::new(frame), weight));
    }

    /// Adds a ping.
    pub(super) fn ping(&mut self) {
        if !matches!(self.frames.back(), Some(Out::Ping)) {
            self.frames.push_back(Out::Ping);
        }
    }

    /// The next message, and the event it ends a turn with.
    pub(super) fn pop(&mut self) -> Option<(Message, Option<u64>)> {
        match self.frames.pop_front()? {
            Out::Ping => Some((Message::Ping(Bytes::new()), None)),
            Out::Frame(frame, weight) => {
                self.bytes = self.bytes.saturating_sub(weight);
                let ends = is_end(&frame.word).then_some(frame.seq).flatten();
                Some((Message::Text(encode(&frame)), ends))
            }
        }
    }

    /// Forgets everything: the socket is closed.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Merges a piece of text with the one before; gives back what cannot be.
    fn merged(&mut self, frame: Frame) -> Option<Frame> {
        let Some(Out::Frame(last, weight)) = self.frames.back_mut() else { return Some(frame) };
        let same = last.turn_id == frame.turn_id && last.replay == frame.replay && last.seq == frame.seq;
        let (into, from) = match (&mut last.word, &frame.word) {
            (Word::Chunk(into), Word::Chunk(from)) | (Word::Thinking(into), Word::Thinking(from)) => {
                (into, from)
            }
            _ => return Some(frame),
        };
        let follows = into.offset + into.content.len() == from.offset;
        if !same || !follows || into.content.len() + from.content.len() > MERGED_BYTES {
            return Some(frame);
        }
        into.content.push_str(&from.content);
        *weight += from.content.len();
        self.bytes += from.content.len();
        None
    }
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

fn encode(frame: &Frame) -> Utf8Bytes {
    match serde_json::to_string(frame) {
        Ok(text) => text.into(),
        Err(error) => {
            tracing::error!(%error, "a frame could not be written as JSON");
            Utf8Bytes::from_static(
                r#"{"type":"error","message":"Something failed inside the gateway.","code":"AGENT_ERROR","reason":"internal","retryable":true,"retry_after":null}"#,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(content: &str, offset: usize) -> Frame {
        Frame::bare(Word::Chunk(Text { content: content.into(), offset }))
    }

    fn outbox(send_frames: usize, send_bytes: usize) -> Outbox {
        Outbox::new(&Bounds { send_frames, send_bytes, ..Bounds::default() })
    }

    #[test]
    fn only_neighbours_are_merged() {
        let mut out = outbox(10, 10_000);
        for frame in [chunk("a", 0), chunk("b", 1), chunk("d", 3), Frame::bare(Word::Pong), chunk("e", 4)] {
            out.push(frame);
        }
        let texts: Vec<_> = std::iter::from_fn(|| out.pop()).map(|(m, _)| m.into_text().unwrap()).collect();
        assert_eq!(texts.len(), 4);
        assert_eq!(texts[0].as_str(), r#"{"type":"chunk","content":"ab","offset":0}"#);
        assert_eq!(out.bytes, 0);
    }

    #[test]
    fn too_many_and_too_much_are_full() {
        let mut out = outbox(2, 10_000);
        for full in [false, false, true] {
            out.push(Frame::bare(Word::Pong));
            assert_eq!(out.is_full(), full);
        }
        let mut out = outbox(10, 1_000);
        out.push(chunk(&"x".repeat(5_000), 0));
        assert!(!out.is_full());
        out.push(Frame::bare(Word::Pong));
        assert!(out.is_full());
        out.pop();
        assert!(!out.is_full());
    }
}
