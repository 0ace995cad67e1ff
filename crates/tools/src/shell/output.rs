//! What a program wrote, in bounded memory: its beginning and its end.

use std::collections::VecDeque;

/// The beginning and the end of a text. Errors are at the end, what was going on is at the beginning.
pub(super) struct Output {
    most: usize,
    head: String,
    /// The newest pieces, together at most half of the bound and one piece.
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out: u64,
}

impl Output {
    /// Keeps at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, head: String::new(), tail: VecDeque::new(), tail_bytes: 0, left_out: 0 }
    }

    /// Adds what came.
    pub(super) fn add(&mut self, mut text: &str) {
        if self.tail.is_empty() {
            let room = (self.most / 2).saturating_sub(self.head.len());
            let (begin, rest) = text.split_at(text.floor_char_boundary(room));
            self.head.push_str(begin);
            text = rest;
        }
        if text.is_empty() {
            return;
        }
        self.tail_bytes += text.len();
        self.tail.push_back(text.to_owned());
        while let Some(oldest) = self.tail.front()
            && self.tail_bytes - oldest.len() >= self.most / 2
        {
            self.tail_bytes -= oldest.len();
            self.left_out += oldest.len() as u64;
            self.tail.pop_front();
        }
    }

    /// Whether something was left out.
    pub(super) fn is_cut(&self) -> bool {
        self.left_out > 0 || self.head.len() + self.tail_bytes > self.most
    }

    /// All of it, with a word where something was left out.
    pub(super) fn text(self) -> String {
        let is_cut = self.is_cut();
        let tail: String = self.tail.into_iter().collect();
        if !is_cut {
            return self.head + &tail;
        }
        let from = tail.ceil_char_boundary(tail.len().saturating_sub(self.most / 2));
        let left_out = self.left_out + from as u64;
        format!("{}\n[left out: {left_out} bytes]\n{}", self.head, &tail[from..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_kept_and_the_middle_is_counted() {
        let mut output = Output::new(20);
        for piece in ["0123456789", "abc", "dé", "fghijklmnop", "qrstuvwxyz"] {
            output.add(piece);
        }
        assert!(output.is_cut());
        assert_eq!(output.text(), "0123456789\n[left out: 17 bytes]\nqrstuvwxyz");
    }

    #[test]
    fn what_fits_is_whole() {
        let mut output = Output::new(20);
        for piece in ["0123456789", "abcdefghi", "j"] {
            output.add(piece);
        }
        assert!(!output.is_cut());
        assert_eq!(output.text(), "0123456789abcdefghij");
    }
}
