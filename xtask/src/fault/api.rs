//! The native door, spoken over plain sockets: what a client does can then be cut off anywhere.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

/// Longest wait for a byte of an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How to reach a server.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) at: SocketAddr,
    pub(super) key: String,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// What it says; null when it is no JSON.
    pub(super) body: Value,
}

/// An answer that goes on.
pub(super) struct Stream {
    pub(super) status: u16,
    pub(super) body: BufReader<Body>,
}

/// An event of a stream.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) event: String,
    pub(super) data: Value,
}

impl Api {
    pub(super) fn get(&self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, "", None)
    }

    pub(super) fn post(&self, path: &str, headers: &str, body: &Value) -> io::Result<Answer> {
        self.call("POST", path, headers, Some(body))
    }

    /// A new session's id.
    pub(super) fn create_session(&self) -> io::Result<String> {
        let answer = self.post("/api/v1/sessions", "", &json!({}))?;
        match answer.body["id"].as_str() {
            Some(id) if answer.status == 201 => Ok(id.to_owned()),
            _ => Err(io::Error::other(format!("no session was made: {answer:?}"))),
        }
    }

    /// Says something in a session, under a key.
    pub(super) fn submit(&self, session: &str, key: &str, text: &str) -> io::Result<Answer> {
        let path = format!("/api/v1/sessions/{session}/inputs");
        self.post(&path, &format!("idempotency-key: {key}\r\n"), &json!({ "text": text }))
    }

    /// All events of a session.
    pub(super) fn log(&self, session: &str) -> io::Result<Vec<Value>> {
        let (mut events, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/sessions/{session}/events{after}");
            let mut answer = self.call("GET", &path, "accept: application/json\r\n", None)?;
            let Value::Array(items) = answer.body["items"].take() else {
                return Err(io::Error::other(format!("no page of {session}: {answer:?}")));
            };
            events.extend(items);
            if answer.body["more"] != true {
                return Ok(events);
            }
            after = format!("?after={}", position(&answer.body["position"]));
        }
    }

    /// Follows a session after a position, or from its start.
    pub(super) fn follow(&self, session: &str, after: Option<&str>) -> io::Result<Stream> {
        let after = after.map_or_else(String::new, |after| format!("?after={after}"));
        let path = format!("/api/v1/sessions/{session}/events{after}");
        let stream = self.send("GET", &path, "accept: text/event-stream\r\n", None)?;
        match stream.status {
            200 => Ok(stream),
            status => Err(io::Error::other(format!("following {session} was answered with {status}"))),
        }
    }

    /// A connection whose reads do not wait for ever.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&self.at, CONNECT)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// A counter of the server's metrics, all its labels together.
    pub(super) fn counter(&self, name: &str) -> io::Result<u64> {
        let mut stream = self.send("GET", "/metrics", "", None)?;
        let mut text = String::new();
        stream.body.read_to_string(&mut text)?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next());
        Ok(lines.filter_map(|value| value.parse::<u64>().ok()).sum())
    }

    fn call(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> io::Result<Answer> {
        let mut stream = self.send(method, path, headers, body)?;
        let mut text = Vec::new();
        stream.body.read_to_end(&mut text)?;
        let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
        Ok(Answer { status: stream.status, body })
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> io::Result<Stream> {
        let socket = self.connect()?;
        let (at, key, body) = (self.at, &self.key, body.map_or_else(String::new, Value::to_string));
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        (&socket).write_all(request.as_bytes())?;
        Stream::read(socket)
    }
}

/// A position as a path takes it.
pub(super) fn position(position: &Value) -> String {
    format!("{}.{}", position["epoch"].as_str().unwrap_or_default(), position["seq"])
}

impl Stream {
    fn read(socket: TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(socket);
        let (mut line, mut left) = (String::new(), None);
        read_line(&mut reader, &mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no answer: {line:?}")))?;
        let mut is_chunked = false;
        loop {
            line.clear();
            read_line(&mut reader, &mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => left = value.parse().ok(),
                "transfer-encoding" => is_chunked = value == "chunked",
                _ => {}
            }
        }
        let body = Body { reader, left: if is_chunked { Some(0) } else { left }, is_chunked };
        Ok(Self { status, body: BufReader::new(body) })
    }

    /// The next event; nothing when the server ended the stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let (mut event, mut data, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            if self.body.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let text = line.trim_end_matches(['\r', '\n']);
            if text.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data).map_err(io::Error::other)?;
                return Ok(Some(Frame { event, data }));
            }
            match text.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut event),
                Some(("data", value)) => data.push_str(value),
                _ => {}
            }
        }
    }
}

/// The bytes of an answer, without their transport.
pub(super) struct Body {
    reader: BufReader<TcpStream>,
    /// Bytes until the end, of the chunk or of everything; nothing when the connection's end is the end.
    left: Option<usize>,
    is_chunked: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_chunked && self.left == Some(0) {
            self.left = Some(self.next_chunk()?);
            if self.left == Some(0) {
                (self.is_chunked, self.left) = (false, Some(0));
            }
        }
        let Some(left) = self.left else { return self.reader.read(buffer) };
        let most = left.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read);
        if self.is_chunked && left == read {
            read_line(&mut self.reader, &mut String::new())?;
        }
        Ok(read)
    }
}

impl Body {
    fn next_chunk(&mut self) -> io::Result<usize> {
        let mut line = String::new();
        read_line(&mut self.reader, &mut line)?;
        usize::from_str_radix(line.trim(), 16).map_err(|e| io::Error::other(format!("{line:?}: {e}")))
    }
}

fn read_line(reader: &mut impl BufRead, line: &mut String) -> io::Result<()> {
    match reader.read_line(line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
