//! One kind of a turn's text, as a client has been told it.

use moongate_protocol::ItemId;

use super::frames::Text;

/// What a turn said so far in one kind of text, item by item.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pieces: Vec<Piece>,
    /// Bytes of all pieces.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Piece {
    item: ItemId,
    text: String,
    chars: u64,
    /// Its event came: nothing of it changes any more.
    complete: bool,
}

/// What an item's complete text is to what was told of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rest {
    /// All of it was told.
    Nothing,
    /// This is missing.
    More(Text),
    /// It is another text: everything has to be told anew.
    Another,
}

impl Stream {
    /// Takes a piece of an item; gives what of it was not told yet.
    pub(super) fn delta(&mut self, item: ItemId, offset: u64, text: &str) -> Option<Text> {
        let at = self.piece(item);
        let piece = &self.pieces[at];
        let known = piece.chars.checked_sub(offset).and_then(|known| usize::try_from(known).ok())?;
        let begin = text.char_indices().nth(known).map(|(begin, _)| begin)?;
        (!piece.complete).then(|| self.push(at, &text[begin..]))
    }

    /// Takes an item's complete text.
    pub(super) fn complete(&mut self, item: ItemId, full: &str) -> Rest {
        let at = self.piece(item);
        let rest = match full.strip_prefix(self.pieces[at].text.as_str()) {
            Some("") => Rest::Nothing,
            Some(rest) => Rest::More(self.push(at, rest)),
            None => {
                let piece = &mut self.pieces[at];
                self.bytes = self.bytes - piece.text.len() + full.len();
                (piece.text, piece.chars) = (full.to_owned(), full.chars().count() as u64);
                Rest::Another
            }
        };
        self.pieces[at].complete = true;
        rest
    }

    /// Forgets items whose event never came. Says whether anything was told of them.
    pub(super) fn drop_unfinished(&mut self) -> bool {
        let before = self.bytes;
        self.pieces.retain(|piece| piece.complete);
        self.bytes = self.pieces.iter().map(|piece| piece.text.len()).sum();
        self.bytes != before
    }

    /// Everything that was said.
    pub(super) fn all(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn piece(&mut self, item: ItemId) -> usize {
        if let Some(at) = self.pieces.iter().rposition(|piece| piece.item == item) {
            return at;
        }
        self.pieces.push(Piece { item, text: String::new(), chars: 0, complete: false });
        self.pieces.len() - 1
    }

    fn push(&mut self, at: usize, fresh: &str) -> Text {
        let piece = &mut self.pieces[at];
        piece.text.push_str(fresh);
        piece.chars += fresh.chars().count() as u64;
        let offset = self.bytes;
        self.bytes += fresh.len();
        Text { content: fresh.to_owned(), offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u128) -> ItemId {
        ItemId::from_bits(n)
    }

    fn text(content: &str, offset: usize) -> Text {
        Text { content: content.into(), offset }
    }

    #[test]
    fn offsets_count_bytes_of_all_items_and_repeats_are_left_out() {
        let mut stream = Stream::default();
        assert_eq!(stream.delta(item(1), 0, "hé"), Some(text("hé", 0)));
        assert_eq!(stream.delta(item(1), 1, "éllo"), Some(text("llo", 3)));
        assert_eq!(stream.delta(item(1), 0, "héllo"), None);
        assert_eq!(stream.delta(item(1), 9, "gap"), None);
        assert_eq!(stream.complete(item(1), "héllo!"), Rest::More(text("!", 6)));
        assert_eq!(stream.delta(item(1), 6, "late"), None);
        assert_eq!(stream.delta(item(2), 0, "ü"), Some(text("ü", 7)));
        assert_eq!(stream.complete(item(2), "ü"), Rest::Nothing);
        assert_eq!(stream.all(), "héllo!ü");
    }

    #[test]
    fn another_text_than_was_told_is_told_anew() {
        let mut stream = Stream::default();
        stream.delta(item(1), 0, "abc");
        assert_eq!(stream.complete(item(1), "xy"), Rest::Another);
        assert_eq!(stream.delta(item(2), 0, "z"), Some(text("z", 2)));
        assert!(stream.drop_unfinished());
        assert_eq!(stream.all(), "xy");
        assert!(!stream.drop_unfinished());
    }
}
