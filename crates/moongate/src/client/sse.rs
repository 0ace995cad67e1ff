//! Reads server-sent events from bytes that arrive cut anywhere.

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The stream's position after it; empty for what has none.
    pub(crate) id: String,
    /// What kind of event.
    pub(crate) event: String,
    /// Its JSON.
    pub(crate) data: String,
}

/// Longest event that is read: an answer of the longest kind, as JSON.
const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// An event is longer than anything the server sends.
#[derive(Debug, thiserror::Error)]
#[error("an event of the stream is too long")]
pub(crate) struct TooLong;

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
}

impl Decoder {
    /// Takes more bytes in and hands out the events they complete.
    ///
    /// # Errors
    /// When an event grows past its bound.
    pub(crate) fn push(&mut self, bytes: &[u8], messages: &mut Vec<Message>) -> Result<(), TooLong> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.message.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
            if piece.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']), messages);
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str, messages: &mut Vec<Message>) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if std::mem::take(&mut self.has_data) {
                messages.push(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut self.message.id),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, or a field this program does not use.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 1f.2\nevent: turn.started\ndata: {\"a\":\ndata: 1}\n\nevent: delta\r\n\
                          data:{\"text\":\"ä€\"}\r\n\r\nid: 1f.3\n\nevent: cut\ndata: x";

    #[test]
    fn cut_at_every_byte_the_events_are_the_same() {
        let expected = vec![
            Message { id: "1f.2".into(), event: "turn.started".into(), data: "{\"a\":\n1}".into() },
            Message { id: String::new(), event: "delta".into(), data: "{\"text\":\"ä€\"}".into() },
        ];
        for cut in 0..=STREAM.len() {
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
            decoder.push(first, &mut messages).unwrap();
            decoder.push(second, &mut messages).unwrap();
            assert_eq!(messages, expected, "cut at {cut}");
        }
    }
}
