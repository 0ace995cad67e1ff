//! Frames that found no room on their socket yet: what was read of a session waits here, and nothing more is
//! read meanwhile.

use std::collections::VecDeque;

use super::{
    outbox::Outgoing,
    socket::{End, Socket},
};

/// Frames that may wait for room: what one step of reading a log gives, and answers. A client that asks for more
/// than that does not read.
const FRAMES: usize = 4096;

/// Frames that wait for room on a socket, in their order.
#[derive(Debug)]
pub(crate) struct Backlog<F>(VecDeque<F>);

impl<F: Outgoing> Backlog<F> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Whether nothing waits: more may be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what was read: for whoever reads no more until this is empty again.
    pub(crate) fn push(&mut self, frame: F) {
        self.0.push_back(frame);
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Lets go out what there is room for.
    pub(crate) fn pour(&mut self, socket: &mut Socket<F>) {
        while !self.0.is_empty() && socket.has_room() {
            self.0.pop_front().into_iter().for_each(|frame| socket.add(frame));
        }
        if self.0.is_empty() {
            // An idle socket keeps no room for what once waited.
            self.0 = VecDeque::new();
        }
    }

    /// Says something after everything that waits.
    ///
    /// # Errors
    /// `Slow` when the client asks for more than it reads.
    pub(crate) fn say(&mut self, socket: &mut Socket<F>, frame: F) -> Result<(), End> {
        if self.0.is_empty() && socket.has_room() {
            socket.add(frame);
        } else if self.0.len() < FRAMES {
            self.0.push_back(frame);
        } else {
            return Err(socket.too_slow());
        }
        Ok(())
    }
}
