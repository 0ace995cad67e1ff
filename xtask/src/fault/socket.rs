//! The native door's WebSocket, spoken over a plain socket, as far as a following client needs it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::api::{Api, Frame};

/// Bits of a frame's first two bytes.
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// Kinds of frames.
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Longest frame that is read, in bytes: far beyond any the campaigns call for.
const FRAME_MOST: u64 = 64 << 20;

/// An open socket that follows one session.
pub(super) struct Socket(BufReader<TcpStream>);

impl Socket {
    /// Follows a session after a position, or from its start.
    pub(super) fn follow(api: &Api, session: &str, after: Option<&str>) -> io::Result<Self> {
        let stream = api.connect()?;
        let (at, key) = (api.at, &api.key);
        let request = format!(
            "GET /api/v1/ws HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {key}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: bW9vbmdhdGUtZmF1bHRzIQ==\r\n\
             sec-websocket-protocol: moongate.v1\r\n\r\n"
        );
        (&stream).write_all(request.as_bytes())?;
        let mut socket = Self(BufReader::new(stream));
        let (mut first, mut line) = (String::new(), String::new());
        socket.0.read_line(&mut first)?;
        while !matches!(line.as_str(), "\r\n" | "\n") {
            line.clear();
            if socket.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !first.starts_with("HTTP/1.1 101 ") {
            return Err(io::Error::other(format!("no socket: {first:?}")));
        }
        let mut subscribe = json!({ "type": "subscribe", "session": session });
        if let Some(after) = after {
            subscribe["after"] = after.into();
        }
        socket.send(TEXT, subscribe.to_string().as_bytes())?;
        Ok(socket)
    }

    /// The next frame of the session; nothing when the server closed the socket.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let (kind, payload) = self.read()?;
            match kind {
                TEXT => {
                    if let Some(frame) = frame(&payload)? {
                        return Ok(Some(frame));
                    }
                }
                PING => self.send(PONG, &payload)?,
                CLOSE => return Ok(None),
                _ => {}
            }
        }
    }

    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first, second] = self.bytes()?;
        if first & FINAL == 0 || second & MASKED != 0 {
            return Err(io::Error::other("a frame in pieces, or masked"));
        }
        let length = match second {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        if length > FRAME_MOST {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut payload = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut payload)?;
        if payload.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((first & OPCODE, payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A frame of our own; its mask is zero, which leaves the payload as it is.
    fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![FINAL | kind];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(MASKED | short),
            _ => {
                let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
                frame.push(MASKED | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.get_mut().write_all(&frame)
    }
}

/// A session's frame in the form the event stream has it; nothing for an acknowledgement.
fn frame(text: &[u8]) -> io::Result<Option<Frame>> {
    let mut said: Value = serde_json::from_slice(text).map_err(io::Error::other)?;
    let kind = said["type"].as_str().unwrap_or_default().to_owned();
    let data = match kind.as_str() {
        "ack" => return Ok(None),
        "event" | "delta" | "notice" => said[&kind].take(),
        "reset" => said,
        _ => return Err(io::Error::other(format!("the socket said {said}"))),
    };
    let event = match kind.as_str() {
        "event" => data["type"].as_str().unwrap_or_default().to_owned(),
        _ => kind,
    };
    Ok(Some(Frame { event, data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_socket_are_those_of_a_stream() {
        let read = |said: Value| frame(said.to_string().as_bytes()).unwrap();
        let event = json!({ "seq": 3, "type": "turn.started" });
        let found = read(json!({ "type": "event", "event": event })).unwrap();
        assert_eq!((found.event.as_str(), found.data), ("turn.started", event));
        let delta = json!({ "item": "i", "offset": 0, "text": "a" });
        let found = read(json!({ "type": "delta", "delta": delta })).unwrap();
        assert_eq!((found.event.as_str(), found.data), ("delta", delta));
        assert!(read(json!({ "type": "ack" })).is_none());
        assert!(frame(br#"{"type":"error","error":{}}"#).is_err());
    }
}
