//! What waits for a client to read it: bounded in frames and in bytes.

use std::collections::VecDeque;

use bytes::Bytes;

/// A frame on its way to a client.
pub(crate) trait Outgoing: Send + 'static {
    /// Bytes it takes while it waits.
    fn size(&self) -> usize;

    /// Takes the frame that follows into itself, where both are pieces of one text; whether it did.
    fn merge(&mut self, _next: &Self) -> bool {
        false
    }

    /// Its text, in UTF-8.
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
        self.bytes += frame.size();
        self.frames.push_back(frame);
        if self.is_within() {
            return Ok(());
        }
        self.merge();
        // One frame may be larger than all that may wait.
        if self.is_within() || self.frames.len() == 1 { Ok(()) } else { Err(Full) }
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

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        (self.frames, self.bytes) = (VecDeque::new(), 0);
    }

    fn is_within(&self) -> bool {
        self.frames.len() <= self.most_frames && self.bytes <= self.most_bytes
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
    }
}
