//! What a program writes, as text a person and a model can be shown.

/// Bytes of the end of a character that is not complete yet.
const CHARACTER: usize = 4;
/// Bytes of a sequence for a terminal; a longer one is no sequence.
const SEQUENCE: usize = 256;

/// Makes text of bytes as they come: terminal sequences and control characters are taken out, what is no UTF-8 is
/// replaced.
#[derive(Default)]
pub(super) struct Plain {
    /// The beginning of a character whose end has not come.
    rest: Vec<u8>,
    state: State,
    /// A carriage return came: with a line feed it is one line's end, alone it is one too.
    returned: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After an escape.
    Escape,
    /// In a control sequence, with the characters so far.
    Control(usize),
    /// In a string for the terminal, with the characters so far, and whether its end has begun.
    Words(usize, bool),
}

impl Plain {
    /// The text of the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let mut text = String::with_capacity(bytes.len());
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            match std::str::from_utf8(left) {
                Ok(good) => {
                    self.characters(good, &mut text);
                    break;
                }
                Err(fault) => {
                    let (good, bad) = left.split_at(fault.valid_up_to());
                    self.characters(std::str::from_utf8(good).unwrap_or_default(), &mut text);
                    let Some(length) = fault.error_len().or((bad.len() >= CHARACTER).then_some(1)) else {
                        self.rest = bad.to_vec();
                        break;
                    };
                    self.characters("\u{fffd}", &mut text);
                    left = &bad[length..];
                }
            }
        }
        text
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::take(&mut self.rest).is_empty() {
            self.characters("\u{fffd}", &mut text);
        }
        if std::mem::take(&mut self.returned) {
            text.push('\n');
        }
        text
    }

    fn characters(&mut self, from: &str, text: &mut String) {
        for character in from.chars() {
            self.state = match (self.state, character) {
                (State::Text, '\u{1b}') => State::Escape,
                (State::Text, '\u{9b}') => State::Control(0),
                (State::Text, _) => {
                    self.show(character, text);
                    State::Text
                }
                (State::Escape, '[') => State::Control(0),
                (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Words(0, false),
                // Of the sequences of two or three, the middle one is from this range.
                (State::Escape, ' '..='/') => State::Escape,
                (State::Escape, _) => State::Text,
                (State::Control(_), '@'..='~') => State::Text,
                (State::Control(length), ' '..='?') if length < SEQUENCE => State::Control(length + 1),
                (State::Control(_), _) => State::Text,
                (State::Words(..), '\u{7}' | '\u{9c}') | (State::Words(_, true), _) => State::Text,
                (State::Words(length, false), _) if length < SEQUENCE => {
                    State::Words(length + 1, character == '\u{1b}')
                }
                (State::Words(..), _) => State::Text,
            };
        }
    }

    fn show(&mut self, character: char, text: &mut String) {
        if std::mem::replace(&mut self.returned, character == '\r') && character != '\n' {
            text.push('\n');
        }
        if matches!(character, '\n' | '\t') || !character.is_control() {
            text.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(pieces: &[&[u8]]) -> String {
        let mut plain = Plain::default();
        let mut text: String = pieces.iter().map(|piece| plain.take(piece)).collect();
        text.push_str(&plain.finish());
        text
    }

    #[test]
    fn text_is_the_same_however_its_bytes_arrive() {
        let bytes = "\u{1b}[31mröt\u{1b}[0m €\r\n50%\r100%\r\n\u{1b}]0;title\u{7}a\u{1b}(Bb\u{8}c\0d\u{1b}]8;;x\u{1b}\\e\r".as_bytes();
        let text = "röt €\n50%\n100%\nabcde\n";
        for cut in 0..=bytes.len() {
            assert_eq!(plain(&[&bytes[..cut], &bytes[cut..]]), text, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(plain(&single), text);
    }

    #[test]
    fn what_is_no_text_is_replaced_and_never_swallows_what_follows() {
        assert_eq!(plain(&[b"a\xff\xfeb", b"\xe2\x82"]), "a\u{fffd}\u{fffd}b\u{fffd}");
        let open = [b"\x1b]0;".to_vec(), vec![b'x'; SEQUENCE], b" and the rest".to_vec()].concat();
        assert!(plain(&[&open]).ends_with("and the rest"));
    }
}
