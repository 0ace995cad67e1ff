//! The text of one item as it was shown so far, and what a delta or the item's event changes of it.

use moongate_protocol::Delta;

/// What was shown of an item.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// All of it.
    pub(crate) text: String,
    /// Its length in Unicode scalar values.
    chars: u64,
}

/// What has to be shown now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// The text from this byte on.
    More(usize),
    /// Another text than what was shown.
    Other,
}

impl Shown {
    /// Keeps what stands before the delta's offset and goes on with it. Repeats show nothing; a gap is left to
    /// the item's event.
    pub(crate) fn splice(&mut self, delta: &Delta) -> Change {
        if delta.offset == self.chars {
            return self.append(&delta.text);
        }
        let offset = usize::try_from(delta.offset).unwrap_or(usize::MAX);
        match self.text.char_indices().nth(offset) {
            Some((at, _)) => self.complete(&format!("{}{}", &self.text[..at], delta.text)),
            None => Change::Nothing,
        }
    }

    /// The text is known as a whole, or as far as it was written.
    pub(crate) fn complete(&mut self, text: &str) -> Change {
        if self.text.starts_with(text) {
            return Change::Nothing;
        }
        if let Some(more) = text.strip_prefix(self.text.as_str()) {
            return self.append(more);
        }
        *self = Self::default();
        self.append(text);
        Change::Other
    }

    fn append(&mut self, more: &str) -> Change {
        let from = self.text.len();
        self.text.push_str(more);
        self.chars += more.chars().count() as u64;
        if more.is_empty() { Change::Nothing } else { Change::More(from) }
    }
}

#[cfg(test)]
mod tests {
    use moongate_protocol::{DeltaKind, ItemId, SessionId, TurnId};

    use super::*;

    fn delta(offset: u64, text: &str) -> Delta {
        Delta {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            item: ItemId::from_bits(1),
            kind: DeltaKind::Text,
            offset,
            text: text.into(),
            tool: None,
        }
    }

    #[test]
    fn lost_and_repeated_deltas_show_each_character_once() {
        let mut shown = Shown::default();
        let mut printed = String::new();
        let deltas = [(0, "für "), (4, "ein"), (0, "für ein"), (4, "einen"), (11, "lost"), (2, "r einen T")];
        for (offset, text) in deltas {
            if let Change::More(from) = shown.splice(&delta(offset, text)) {
                printed.push_str(&shown.text[from..]);
            }
        }
        assert_eq!(printed, "für einen T");
        assert_eq!(shown.complete("für einen Test"), Change::More("für einen T".len()));
        assert_eq!(shown.complete("für"), Change::Nothing);
        assert_eq!(shown.complete("anders"), Change::Other);
        assert_eq!(shown.splice(&delta(6, "!")), Change::More(6));
    }
}
