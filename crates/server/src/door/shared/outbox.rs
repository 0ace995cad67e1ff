//! What waits for a client to read it: bounded in frames and in bytes.

use std::collections::VecDeque;

use bytes::Bytes;

/// About what a frame weighs besides its text, in bytes.
pub(crate) const FRAME_BYTES: usize = 256;
/// Longest text that pieces are made one of, in bytes: a text that grew to more would be copied at each step, and take
/// twice the room it needs.
pub(crate) const MERGED_BYTES: usize = 64 << 10;

/// A frame on its way to a client.
pub(crate) trait Outgoing: Send + 'static {
    /// Bytes it takes while it waits.
    fn size(&self) -> usize;

    /// Takes the frame that follows into itself, where both are pieces of one text; whether it did.
    fn merge(&mut self, _next: &Self) -> bool {
        false
    }

    /// Whether it is no text but a ping in its place: the answer shows that the client was handed all before it.
    fn is_probe(&self) -> bool {
        false
    }

    /// Its text, in UTF-8; a probe's own few bytes, which its answer has too.
    fn encode(self) -> Bytes;
}

/// A text that is sent as it is.
impl Outgoing for Bytes {
    fn size(&self) -> usize {
        self.len()
    }

    fn encode(self) -> Bytes {
        self
    }
}

/// The client does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Frames that wait for a client to read them.
#[derive(Debug)]
pub(crate) struct Outbox<F> {
    frames: VecDeque<F>,
    bytes: usize,
    most_frames: usize,
    most_bytes: usize,
}

impl<F: Outgoing> Outbox<F> {
    pub(crate) fn new(most_frames: usize, most_bytes: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, most_frames, most_bytes }
    }

    /// Adds a frame. When that is too much, neighbouring pieces of one text are made one first.
    ///
    /// # Errors
    /// When it is too much all the same.
    pub(crate) fn push(&mut self, frame: F) -> Result<(), Full> {
        let is_alone = self.frames.is_empty();
        self.add(frame);
        // One frame may be larger than all that may wait.
        if is_alone || self.is_within() {
            return Ok(());
        }
        self.merge();
        if self.is_within() { Ok(()) } else { Err(Full) }
    }

    /// Adds a frame however large: for whoever asks for room before each.
    pub(crate) fn add(&mut self, frame: F) {
        self.bytes += frame.size();
        self.frames.push_back(frame);
    }

    /// The next frame.
    pub(crate) fn pop(&mut self) -> Option<F> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.size());
        if self.frames.is_empty() {
            // An idle socket keeps no room for what once waited.
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether less waits than half of what may. Neighbouring pieces of one text are made one before it does not.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.is_half_empty() {
            return true;
        }
        self.merge();
        self.is_half_empty()
    }

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        (self.frames, self.bytes) = (VecDeque::new(), 0);
    }

    fn is_within(&self) -> bool {
        self.frames.len() <= self.most_frames && self.bytes <= self.most_bytes
    }

    fn is_half_empty(&self) -> bool {
        self.frames.len() * 2 <= self.most_frames && self.bytes * 2 <= self.most_bytes || self.is_empty()
    }

    fn merge(&mut self) {
        let mut merged: VecDeque<F> = VecDeque::with_capacity(self.frames.len());
        for frame in self.frames.drain(..) {
            let taken = merged.back_mut().is_some_and(|last| last.merge(&frame));
            if !taken {
                merged.push_back(frame);
            }
        }
        self.bytes = merged.iter().map(Outgoing::size).sum();
        self.frames = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Piece(&'static str, String);

    impl Outgoing for Piece {
        fn size(&self) -> usize {
            self.1.len()
        }

        fn merge(&mut self, next: &Self) -> bool {
            let same = self.0 == next.0 && self.0 == "text";
            if same {
                self.1.push_str(&next.1);
            }
            same
        }

        fn encode(self) -> Bytes {
            self.1.into()
        }
    }

    #[test]
    fn neighbours_are_made_one_before_a_client_is_too_slow() {
        let mut outbox = Outbox::new(3, 100);
        for text in ["a", "b", "c", "d", "e"] {
            outbox.push(Piece("text", text.into())).unwrap();
        }
        outbox.push(Piece("tool", "x".into())).unwrap();
        let sent: Vec<_> = std::iter::from_fn(|| outbox.pop()).map(|piece| piece.1).collect();
        assert_eq!(sent.concat(), "abcdex");
        assert!(sent.len() <= 4);
        for _ in 0..3 {
            outbox.push(Piece("tool", "x".into())).unwrap();
        }
        assert_eq!(outbox.push(Piece("tool", "x".into())), Err(Full));
        outbox.clear();
        outbox.push(Piece("tool", "x".repeat(200))).unwrap();
        assert_eq!(outbox.push(Piece("tool", "x".into())), Err(Full));
        // A text that is not read grows no further than everything else.
        outbox.clear();
        outbox.push(Piece("text", "x".repeat(60))).unwrap();
        assert_eq!(outbox.push(Piece("text", "x".repeat(60))), Err(Full));
    }

    #[test]
    fn there_is_room_until_half_of_it_is_taken_by_what_cannot_be_made_one() {
        let mut outbox = Outbox::new(4, 100);
        for _ in 0..3 {
            outbox.push(Piece("text", "x".into())).unwrap();
        }
        assert!(outbox.has_room());
        assert_eq!(outbox.frames.len(), 1);
        outbox.push(Piece("tool", "x".into())).unwrap();
        assert!(outbox.has_room());
        outbox.push(Piece("tool", "x".into())).unwrap();
        assert!(!outbox.has_room());
        outbox.pop();
        assert!(outbox.has_room());
        outbox.clear();
        outbox.add(Piece("tool", "x".repeat(200)));
        assert!(!outbox.has_room());
        outbox.pop();
        assert!(outbox.has_room());
    }
}
