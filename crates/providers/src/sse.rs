//! Server-sent events, as providers stream them: framing only, no meaning.

use std::borrow::Cow;

use memchr::memchr2;

/// Longest event, in bytes. The largest real ones repeat a whole answer with its encrypted reasoning.
pub(crate) const MAX_EVENT_BYTES: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The last `event:` line's value; empty without one.
    pub(crate) name: Cow<'a, str>,
    /// The `data:` lines' values, joined by line feeds.
    pub(crate) data: &'a [u8],
}

/// A line or an event is longer than [`MAX_EVENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Turns bytes, cut anywhere, into events.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    data: Vec<u8>,
    name: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    at_start: bool,
    limit: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT_BYTES)
    }
}

impl Reader {
    fn with_limit(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            name: Vec::new(),
            has_data: false,
            after_return: false,
            at_start: true,
            limit,
        }
    }

    /// Reads more bytes and calls `on_event` for every event they complete, until it fails.
    pub(crate) fn feed<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            if self.after_return && !bytes.is_empty() {
                self.after_return = false;
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                if self.line.len() + bytes.len() > self.limit {
                    return Err(TooLong.into());
                }
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            self.after_return = bytes[end] == b'\r';
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let complete = if self.line.is_empty() {
                self.take_line(head)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                let complete = self.take_line(&line)?;
                line.clear();
                self.line = line;
                complete
            };
            if complete {
                let result = on_event(Event { name: String::from_utf8_lossy(&self.name), data: &self.data });
                self.reset();
                result?;
            }
        }
    }

    /// Takes one whole line; true if it ends an event.
    fn take_line(&mut self, mut line: &[u8]) -> Result<bool, TooLong> {
        if self.at_start {
            self.at_start = false;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            let complete = self.has_data;
            if !complete {
                self.reset();
            }
            return Ok(complete);
        }
        if let Some(value) = field(line, b"data") {
            if self.data.len() + value.len() >= self.limit {
                return Err(TooLong);
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        } else if let Some(value) = field(line, b"event") {
            self.name.clear();
            self.name.extend_from_slice(value);
        }
        Ok(false)
    }

    fn reset(&mut self) {
        self.data.clear();
        self.name.clear();
        self.has_data = false;
    }
}

/// The value of a `name: value` line.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for chunk in chunks {
            reader
                .feed(chunk, |event| {
                    events.push((event.name.into_owned(), String::from_utf8_lossy(event.data).into_owned()));
                    Ok::<_, TooLong>(())
                })
                .unwrap();
        }
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn every_line_end_comment_and_field_form() {
        let bytes = "\u{feff}: hello\nevent: a\ndata: 1\n\ndata:2\r\n\r\nid: 7\rretry: 3\rdata: 3\rdata:  4\r\r\
                     event: gone\n\ndata\n\nevents: no\ndatax: no\ndata: é\n\n";
        let expected = [event("a", "1"), event("", "2"), event("", "3\n 4"), event("", ""), event("", "é")];
        assert_eq!(parse(&[bytes.as_bytes()]), expected);
    }

    #[test]
    fn a_carriage_return_and_its_line_feed_are_one_end_wherever_they_are_cut() {
        let bytes = b"event: e\r\ndata: 1\r\ndata: 2\r\n\r\n";
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&[bytes]), [event("e", "1\n2")]);
        assert_eq!(parse(&single), [event("e", "1\n2")]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_given_out() {
        assert_eq!(parse(&[b"data: 1\n\ndata: 2\n"]), [event("", "1")]);
    }

    #[test]
    fn too_long_a_line_or_event_is_refused() {
        let read = |text: &str| Reader::with_limit(16).feed(text.as_bytes(), |_| Ok::<_, TooLong>(()));
        assert_eq!(read("data: 0123456\n\n"), Ok(()));
        assert_eq!(read("data: 0123456789012345678\n\n"), Err(TooLong));
        assert_eq!(read("01234567890123456"), Err(TooLong));
        assert_eq!(read("data: 01234567\ndata: 01234567\n\n"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            lines in prop::collection::vec(
                prop_oneof![
                    Just(String::new()), Just(": c".to_owned()), Just("event: é".to_owned()),
                    "data: [a-zé\u{20ac}]{0,6}", "[a-z:]{0,6}",
                ],
                0..24,
            ),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r"), Just("\r\n")], 24),
            cuts in prop::collection::vec(0_usize..200, 0..12),
        ) {
            let text: String = lines.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
            let bytes = text.as_bytes();
            let whole = parse(&[bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&parse(&single), &whole);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(&parse(&chunks), &whole);
        }
    }
}
