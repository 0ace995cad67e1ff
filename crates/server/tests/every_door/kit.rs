//! A server with every door open, and connections held by hand.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_core::ToolResult;
use moongate_protocol::{Effect, PolicyPreset, ToolOutcome};
use moongate_server::{AppConfig, Server, ServerConfig};
use moongate_testkit::{ScriptedTool, Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

/// Longest wait for something that has to happen.
const SOON: Duration = Duration::from_secs(20);

/// What a future gives, which has to be soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

/// A server, the scripted gateway behind it, and the key of a person.
pub(crate) struct Kit {
    pub(crate) gateway: TestGateway,
    pub(crate) line: Line,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

/// Where the server is, and the key that opens it.
#[derive(Clone)]
pub(crate) struct Line {
    address: SocketAddr,
    key: String,
}

impl Kit {
    /// A gateway whose agent may look by itself and send when a person agrees.
    pub(crate) async fn new() -> Self {
        let broken = ToolResult::ended(ToolOutcome::Error, "it broke");
        let setup = Setup { policy: PolicyPreset::Ask, ..Setup::default() }
            .tool(ScriptedTool::new("look", Effect::Read).answers(ToolResult::ok("12 °C")))
            .tool(ScriptedTool::new("fail", Effect::Read).answers(broken))
            .tool(ScriptedTool::new("send", Effect::Effect));
        let gateway = setup.start().await;
        let (key, app) = AppConfig::generate(gateway.gateway().ids());
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls: None, behind_proxy: false, app };
        let server = Server::bind(config, gateway.gateway().clone()).await.unwrap();
        let line = Line { address: server.local_addr(), key: key.expose_secret().to_owned() };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone(), Duration::ZERO));
        Self { gateway, line, shutdown, running }
    }

    /// Stops the server and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        soon(self.running).await.unwrap();
    }
}

impl Line {
    /// Asks for something and reads the head of the reply.
    pub(crate) async fn open(&self, method: &str, path: &str, headers: &str, body: &Value) -> Reply {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
            self.key,
            body.len()
        );
        socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(at) = find(&raw, b"\r\n\r\n") {
                break at;
            }
            assert!(read(&mut socket, &mut raw).await, "no head: {:?}", String::from_utf8_lossy(&raw));
        };
        let head = String::from_utf8(raw[..end].to_vec()).unwrap();
        raw.drain(..end + 4);
        Reply { socket, head, raw, text: Vec::new(), over: false }
    }

    /// Asks for something and reads the whole reply, which is a success.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.answer(method, path, "", body).await;
        assert!(status / 100 == 2, "{path}: {status} {answer}");
        answer
    }

    /// Asks for something and reads the whole reply: its status and its body, where that is JSON.
    pub(crate) async fn answer(&self, method: &str, path: &str, headers: &str, body: &Value) -> (u16, Value) {
        let mut reply = self.open(method, path, headers, body).await;
        while read(&mut reply.socket, &mut reply.raw).await {}
        let text = String::from_utf8_lossy(&reply.raw);
        (reply.status(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Opens a stream, which is a success.
    pub(crate) async fn stream(&self, method: &str, path: &str, headers: &str, body: &Value) -> Reply {
        let reply = self.open(method, path, headers, body).await;
        assert_eq!(reply.status(), 200, "{path}: {}", reply.head);
        reply
    }

    /// Opens a WebSocket.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        let (stream, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Socket { stream }
    }
}

/// A reply whose body is read as it comes.
pub(crate) struct Reply {
    socket: TcpStream,
    head: String,
    /// Bytes of chunks that are not decoded.
    raw: Vec<u8>,
    /// Text that is no whole event.
    text: Vec<u8>,
    over: bool,
}

/// A server-sent event.
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Sent {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

impl Reply {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap()
    }

    /// The next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(at) = find(&self.text, b"\n\n") {
                let event: Vec<u8> = self.text.drain(..at + 2).collect();
                match sent(std::str::from_utf8(&event).unwrap()) {
                    Some(sent) => return Some(sent),
                    None => continue,
                }
            }
            if self.over {
                assert!(self.text.is_empty(), "a torn event: {:?}", String::from_utf8_lossy(&self.text));
                return None;
            }
            self.over |= !read(&mut self.socket, &mut self.raw).await;
            self.decode();
        }
    }

    fn decode(&mut self) {
        while let Some(end) = find(&self.raw, b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..end]).unwrap(), 16).unwrap();
            let whole = end + 2 + size + 2;
            if self.raw.len() < whole {
                break;
            }
            self.text.extend_from_slice(&self.raw[end + 2..whole - 2]);
            self.raw.drain(..whole);
            self.over |= size == 0;
        }
    }
}

fn sent(text: &str) -> Option<Sent> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some(Sent { name: field("event: ").unwrap_or_default(), data: field("data: ")? })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Reads what there is; false at the end.
async fn read(socket: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    soon(socket.read_buf(into)).await.unwrap_or(0) > 0
}

/// A WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match soon(self.stream.next()).await.expect("the socket is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("the socket was closed: {frame:?}"),
                _ => {}
            }
        }
    }
}
