//! The size of one server-sent event, counted before anything is kept.

/// Counts the bytes of the event that is arriving.
#[derive(Debug)]
pub(super) struct EventSize {
    most: usize,
    event: usize,
    line: usize,
    after_return: bool,
}

impl EventSize {
    /// Events of at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, event: 0, line: 0, after_return: false }
    }

    /// Counts a piece of the stream; false when an event in it is too long.
    pub(super) fn takes(&mut self, piece: &[u8]) -> bool {
        piece.iter().all(|byte| self.take(*byte))
    }

    fn take(&mut self, byte: u8) -> bool {
        let ends_pair = byte == b'\n' && std::mem::take(&mut self.after_return);
        if ends_pair {
            return true;
        }
        self.after_return = byte == b'\r';
        if matches!(byte, b'\r' | b'\n') {
            // An empty line ends an event.
            self.event = if self.line == 0 { 0 } else { self.event + 1 };
            self.line = 0;
        } else {
            (self.event, self.line) = (self.event + 1, self.line + 1);
        }
        self.event <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_one_event_is_counted() {
        for end in ["\n", "\r", "\r\n"] {
            let mut size = EventSize::new(12);
            let event = format!("data: 1{end}{end}");
            assert!((0..100).all(|_| size.takes(event.as_bytes())), "{end:?}");
            assert!(!size.takes(format!("data: 1{end}data: 2").as_bytes()), "{end:?}");
        }
    }
}
