//! A server with a scripted model, and clients of the door.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_server::{AppConfig, Server, ServerConfig};
use moongate_testkit::{Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

/// Longest wait of any test for something that has to happen.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// Where a client finds the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mount {
    Prefix,
    Own,
}

/// Runs a test at both mounts of the door.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($live:ident: $setup:expr) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn run(mount: $crate::kit::Mount) {
                    let $live = $crate::kit::Live::start($setup, mount, |_| {}).await;
                    $body
                }

                #[tokio::test]
                async fn beneath_its_prefix() {
                    run($crate::kit::Mount::Prefix).await;
                }

                #[tokio::test]
                async fn on_its_own_listener() {
                    run($crate::kit::Mount::Own).await;
                }
            }
        )*
    };
}
pub(crate) use both;

/// A server that runs.
pub(crate) struct Live {
    pub(crate) kit: TestGateway,
    pub(crate) key: String,
    address: SocketAddr,
    prefix: &'static str,
    mount: Mount,
    change: fn(&mut AppConfig),
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Live {
    pub(crate) async fn start(setup: Setup, mount: Mount, change: fn(&mut AppConfig)) -> Self {
        let kit = setup.start().await;
        let (prefix, address) = (if mount == Mount::Prefix { "/oxios" } else { "" }, ([127, 0, 0, 1], 0));
        let mut live = Self {
            kit,
            key: String::new(),
            address: address.into(),
            prefix,
            mount,
            change,
            shutdown: CancellationToken::new(),
            running: None,
        };
        live.listen().await;
        live
    }

    /// Serves the gateway, on a port of its own and with a key of its own.
    async fn listen(&mut self) {
        let gateway = self.kit.gateway().clone();
        let (key, mut app) = AppConfig::generate(gateway.ids());
        app.doors.oxios.listen = Some("127.0.0.1:0".parse().unwrap());
        (self.change)(&mut app);
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(ServerConfig { listen, tls: None, behind_proxy: false, app }, gateway);
        let server = server.await.unwrap();
        self.address = match self.mount {
            Mount::Prefix => server.local_addr(),
            Mount::Own => server.door_addr("oxios").unwrap(),
        };
        self.key = key.expose_secret().to_owned();
        self.shutdown = CancellationToken::new();
        self.running = Some(tokio::spawn(server.run(self.shutdown.clone(), Duration::ZERO)));
    }

    /// Ends the process as `kill -9` does and starts it again on the same disk.
    pub(crate) async fn restart(&mut self) {
        self.kit.crash().await;
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
        self.kit.restart_unrecovered();
        self.kit.recover().await;
        self.listen().await;
    }

    /// A request as bytes, and the whole reply.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {}{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.prefix,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("a reply").unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        Reply { status, head: head.to_ascii_lowercase(), body }
    }

    fn bearer(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &self.bearer(), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        let headers = format!("{}content-type: application/json\r\n", self.bearer());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send("POST", path, &headers, &body).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: Value) -> Reply {
        let headers = format!("{}content-type: application/json\r\n", self.bearer());
        self.send(method, path, &headers, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &self.bearer(), "").await
    }

    /// The reply to `POST /api/chat`.
    pub(crate) async fn chat(&self, body: Value) -> Value {
        let reply = self.post("/api/chat", body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    pub(crate) async fn ticket(&self) -> String {
        let reply = self.post("/api/chat/ticket", Value::Null).await;
        assert_eq!((reply.status, &reply.body["expires_in"]), (200, &json!(30)));
        reply.body["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens the stream with a fresh ticket, as a browser does: without a header of its own.
    pub(crate) async fn socket(&self, query: &str) -> Socket {
        let ticket = self.ticket().await;
        self.open(&format!("ticket={ticket}&{query}"), &[]).await.unwrap()
    }

    pub(crate) async fn open(
        &self,
        query: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Socket, Box<tungstenite::Error>> {
        let url = format!("ws://{}{}/api/chat/stream?{query}", self.address, self.prefix);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        // Little room, so that a client that does not read is noticed soon.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(512 << 10).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(self.address).await.unwrap());
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.map_err(Box::new)?;
        Ok(Socket { stream })
    }

    /// A key with these fields.
    pub(crate) async fn new_key(&self, fields: Value) -> (String, String) {
        let address = self.address;
        assert_eq!(self.mount, Mount::Prefix, "keys are made at the native door, {address}");
        let mut native = TcpStream::connect(address).await.unwrap();
        let body = fields.to_string();
        let request = format!(
            "POST /api/v1/keys HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.bearer(),
            body.len()
        );
        native.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        native.read_to_string(&mut text).await.unwrap();
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        (body["id"].as_str().unwrap().to_owned(), body["secret"].as_str().unwrap().to_owned())
    }

    /// A request to the native door, and the body of its reply.
    pub(crate) async fn native(&self, method: &str, path: &str, body: Value) -> Value {
        assert_eq!(self.mount, Mount::Prefix, "the native door is on the main listener");
        let (headers, body) = (self.bearer(), body.to_string());
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Asks as the holder of another key from now on.
    pub(crate) fn becomes(&mut self, key: &str) -> String {
        std::mem::replace(&mut self.key, key.to_owned())
    }

    /// Ends a key at the native door.
    pub(crate) async fn revoke(&self, id: &str) {
        let mut native = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "DELETE /api/v1/keys/{id} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
            self.bearer()
        );
        native.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        native.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 20"), "{text}");
    }

    /// Subscribes to the events of all sessions.
    pub(crate) async fn events(&self, headers: &str) -> Events {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET {}/api/events HTTP/1.1\r\nhost: localhost\r\n{}{headers}\r\n",
            self.prefix,
            self.bearer()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut events = Events { socket, text: String::new() };
        events.until("\r\n\r\n").await;
        events
    }
}

/// A stream of events, read as text.
pub(crate) struct Events {
    socket: TcpStream,
    pub(crate) text: String,
}

impl Events {
    /// Reads until a text was seen.
    pub(crate) async fn until(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.text.contains(wanted) {
            let read = tokio::time::timeout(SOON, self.socket.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {wanted:?} in {}", self.text)).unwrap();
            assert!(read > 0, "the stream ended before {wanted:?}: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    /// The events so far.
    pub(crate) fn all(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|json| serde_json::from_str(json).unwrap()).collect()
    }

    /// The `type` of each event so far.
    pub(crate) fn types(&self) -> Vec<String> {
        self.all().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// A socket held by hand.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.say_text(&frame.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next text frame; none when the socket was closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(SOON, self.stream.next()).await.expect("a frame");
            match message?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Frames up to and including the first of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            let found = frame["type"] == kind;
            all.push(frame);
            if found {
                return all;
            }
        }
        panic!("the socket was closed before {kind}: {all:?}");
    }

    /// Whether nothing comes for a moment; a frame that comes is a fault.
    pub(crate) async fn is_silent(&mut self) {
        let soon = tokio::time::timeout(Duration::from_millis(150), self.next()).await;
        assert!(soon.is_err(), "{soon:?}");
    }

    /// The code the server closes with.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            let message = tokio::time::timeout(SOON, self.stream.next()).await.expect("a close");
            if let Message::Close(frame) = message?.ok()? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}

/// The types of frames, in order.
pub(crate) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

/// The text all tokens say together.
pub(crate) fn text(frames: &[Value]) -> String {
    frames.iter().filter(|f| f["type"] == "token").map(|f| f["content"].as_str().unwrap()).collect()
}
