//! HTTP by hand: whole replies, and streams read as they come.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Live, SOON};

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON of a reply that is a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

/// A reply whose body is read as it comes.
pub(crate) struct Streaming {
    socket: TcpStream,
    pub(crate) head: Reply,
    /// Bytes of chunks that are not decoded.
    raw: Vec<u8>,
    /// Text that is no whole event.
    text: Vec<u8>,
    over: bool,
}

impl Streaming {
    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            self.decode();
            if let Some(at) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..at + 2).collect();
                match parse(std::str::from_utf8(&event).unwrap()) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            if self.over {
                assert!(self.text.is_empty(), "a torn event: {:?}", String::from_utf8_lossy(&self.text));
                return None;
            }
            let mut buffer = [0; 4096];
            let read = timeout(SOON, self.socket.read(&mut buffer)).await.expect("bytes or an end").unwrap();
            self.over |= read == 0;
            self.raw.extend_from_slice(&buffer[..read]);
        }
    }

    /// All events there are until the end.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Takes whole chunks out of what was read.
    fn decode(&mut self) {
        while let Some(end) = self.raw.windows(2).position(|pair| pair == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if self.raw.len() < end + 2 + size + 2 {
                break;
            }
            self.text.extend_from_slice(&self.raw[end + 2..end + 2 + size]);
            self.raw.drain(..end + 2 + size + 2);
            self.over |= size == 0;
        }
    }
}

fn parse(text: &str) -> Option<Event> {
    let (mut name, mut data) = (None, None);
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = Some(value.to_owned()),
            _ => {}
        }
    }
    data.map(|data| Event { name, data })
}

/// Sends a request and reads the reply's head.
pub(crate) async fn open(
    live: &Live,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Streaming {
    let mut socket = TcpStream::connect(live.serving.address).await.unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    // The native door's routes are named whole.
    let prefix = if path.starts_with("/api/") { "" } else { "/openai/v1" };
    let mut head = format!("{method} {prefix}{path} HTTP/1.1\r\nconnection: close\r\n");
    let usual = [
        ("host", "localhost".to_owned()),
        ("content-length", body.len().to_string()),
        ("authorization", format!("Bearer {}", live.serving.key)),
        ("content-type", "application/json".to_owned()),
    ];
    for (name, value) in usual {
        if !headers.iter().any(|(given, _)| *given == name) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let end = loop {
        if let Some(at) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let mut buffer = [0; 4096];
        let read = timeout(SOON, socket.read(&mut buffer)).await.expect("a head").unwrap();
        assert!(read > 0, "no head: {:?}", String::from_utf8_lossy(&raw));
        raw.extend_from_slice(&buffer[..read]);
    };
    let text = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut lines = text.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    raw.drain(..end + 4);
    Streaming {
        socket,
        head: Reply { status, headers, body: Vec::new() },
        raw,
        text: Vec::new(),
        over: false,
    }
}

/// Sends a request and reads the whole reply.
pub(crate) async fn send(
    live: &Live,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Reply {
    let Streaming { mut socket, mut head, raw, .. } = open(live, method, path, body, headers).await;
    head.body = raw;
    timeout(SOON, socket.read_to_end(&mut head.body)).await.expect("an end").unwrap();
    head
}
