//! A server on a socket, and clients that hold it by hand.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_server::{AppConfig, Server, ServerConfig, Tls};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

use super::{Gate, SOON, gateway};

/// A server that runs, and its gate for setting things up.
pub(crate) struct Live {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Gate,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    /// Doors that have a listener of their own, and where.
    pub(crate) doors: BTreeMap<&'static str, SocketAddr>,
}

impl Live {
    pub(crate) async fn new() -> Self {
        Self::with(None, |_| {}).await
    }

    pub(crate) async fn with(tls: Option<Tls>, change: impl FnOnce(&mut AppConfig)) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let (gateway, clock) = gateway(&permits);
        let (admin, mut app) = AppConfig::generate(gateway.ids());
        change(&mut app);
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls, behind_proxy: false, app };
        let server = Server::bind(config, gateway.clone()).await.unwrap();
        let (address, app) = (server.local_addr(), server.app().clone());
        let router = moongate_server::router(app.clone());
        let gate = Gate { gateway, app, router, admin: admin.expose_secret().to_owned(), permits, clock };
        let doors = ["construct", "mcp", "openai", "orra", "oxios"];
        let doors = doors.into_iter().filter_map(|door| Some((door, server.door_addr(door)?))).collect();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone(), Duration::from_secs(5)));
        Self { address, gate, shutdown, running, doors }
    }

    /// Stops the server and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.running).await.expect("an end").unwrap();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The head of a request as the administrator, without the empty line that ends it.
    pub(crate) fn head(&self, line: &str) -> String {
        format!("{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n", self.gate.admin)
    }

    /// Opens a WebSocket with these headers instead of the usual ones.
    pub(crate) async fn open(
        &self,
        headers: &[(&'static str, String)],
    ) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}/api/v1/ws", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (stream, response) = tokio_tungstenite::connect_async(request).await?;
        let speaks = response.headers().get("sec-websocket-protocol");
        let speaks = speaks.map(|value| value.to_str().unwrap().to_owned());
        Ok(Socket { stream, speaks })
    }

    /// Opens a WebSocket as the holder of a key.
    pub(crate) async fn socket(&self, key: &str) -> Socket {
        let headers = [
            ("authorization", format!("Bearer {key}")),
            ("sec-websocket-protocol", "moongate.v1".to_owned()),
        ];
        self.open(&headers).await.unwrap()
    }
}

/// A WebSocket held by hand.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol the server chose.
    pub(crate) speaks: Option<String>,
}

impl Socket {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next text frame; none when the socket was closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(SOON, self.stream.next()).await.expect("a frame")?.ok()? {
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
            let found = frame["type"] == kind || frame["event"]["type"] == kind;
            all.push(frame);
            if found {
                return all;
            }
        }
        panic!("the socket was closed before {kind}: {all:?}");
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

/// Asks a path without a key; the whole reply.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(&mut socket, request.as_bytes(), "").await
}

/// Sends bytes and reads whatever comes until the server closes or `enough` is in it.
pub(crate) async fn exchange(socket: &mut TcpStream, bytes: &[u8], enough: &str) -> String {
    // A server that refuses may have closed already.
    drop(socket.write_all(bytes).await);
    read_until(socket, enough).await
}

pub(crate) async fn read_until(socket: &mut TcpStream, enough: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::time::timeout(SOON, socket.read(&mut buffer)).await.expect("bytes or an end");
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
        }
        if !enough.is_empty() && String::from_utf8_lossy(&text).contains(enough) {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
