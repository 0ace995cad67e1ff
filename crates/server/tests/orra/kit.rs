//! A server over a scripted gateway, and a client of orra that is strict about frames.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_core::Agent;
use moongate_server::{AppConfig, Server, ServerConfig};
use moongate_testkit::{MODEL, Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

/// Longest wait of any test for something that has to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Frames a client knows that asked for nothing more.
const KNOWN: [&str; 6] = ["text_delta", "response", "error", "tool_approval_request", "pong", "subscribed"];

/// Where the door is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mount {
    Prefix,
    Root,
}

pub(crate) struct Kit {
    pub(crate) test: TestGateway,
    pub(crate) admin: String,
    pub(crate) mount: Mount,
    main: SocketAddr,
    own: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

/// Runs a test on both mounts, with another set-up and other settings where it says so.
macro_rules! on_both_mounts {
    (@setup) => { moongate_testkit::Setup::default() };
    (@setup $setup:expr) => { $setup };
    (@change) => { |_| {} };
    (@change $change:expr) => { $change };
    ($($(#[$doc:meta])* async fn $name:ident($kit:ident: Kit $(, $setup:expr, $change:expr)?) $body:block)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            for mount in [$crate::kit::Mount::Prefix, $crate::kit::Mount::Root] {
                let setup = $crate::kit::on_both_mounts!(@setup $($setup)?);
                let $kit = $crate::kit::Kit::start(mount, setup, $crate::kit::on_both_mounts!(@change $($change)?)).await;
                $body
            }
        }
    )*};
}
pub(crate) use on_both_mounts;

impl Kit {
    pub(crate) async fn start(mount: Mount, setup: Setup, change: fn(&mut AppConfig)) -> Self {
        let test = setup.start().await;
        Self::over(test, mount, change).await
    }

    pub(crate) async fn over(test: TestGateway, mount: Mount, change: fn(&mut AppConfig)) -> Self {
        let mut catalog = (*test.gateway().catalog()).clone();
        let tools = catalog.agents[&catalog.default_agent].clone();
        let atlas = Agent { name: "Atlas".parse().unwrap(), ..(*tools).clone() };
        assert_eq!(atlas.model.as_str(), MODEL);
        catalog.default_agent = atlas.name.clone();
        catalog.agents.insert(atlas.name.clone(), Arc::new(atlas));
        test.gateway().set_catalog(catalog);
        let (admin, mut app) = AppConfig::generate(test.gateway().ids());
        app.doors.orra.listen = Some("127.0.0.1:0".parse().unwrap());
        app.doors.orra.limits.inputs_per_minute = 100_000;
        change(&mut app);
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls: None, behind_proxy: false, app };
        let server = Server::bind(config, test.gateway().clone()).await.unwrap();
        let (main, own) = (server.local_addr(), server.door_addr("orra").unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone(), Duration::from_secs(5)));
        Self { test, admin: admin.expose_secret().to_owned(), mount, main, own, shutdown, running }
    }

    /// Ends the server without a word and gives the gateway back.
    pub(crate) fn dies(self) -> TestGateway {
        self.running.abort();
        self.test
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.mount {
            Mount::Prefix => self.main,
            Mount::Root => self.own,
        }
    }

    fn path(&self, path: &str) -> String {
        match self.mount {
            Mount::Prefix => format!("/orra{path}"),
            Mount::Root => path.to_owned(),
        }
    }

    /// A new key with these fields; everything it usually needs unless they say otherwise.
    pub(crate) async fn key(&self, mut fields: Value) -> String {
        self.key_and_id(&mut fields).await.1
    }

    pub(crate) async fn key_and_id(&self, fields: &mut Value) -> (String, String) {
        if fields["scopes"].is_null() {
            fields["scopes"] = json!(["sessions:read", "sessions:write", "approvals:decide"]);
        }
        fields["label"] = json!("test");
        let body = fields.to_string();
        let headers = [("content-type", "application/json")];
        let reply = ask(self.main, "POST", "/api/v1/keys", &self.admin, &headers, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let body = reply.body();
        (body["id"].as_str().unwrap().to_owned(), body["secret"].as_str().unwrap().to_owned())
    }

    /// Asks the native door, as the administrator.
    pub(crate) async fn native(&self, path: &str) -> Value {
        self.native_as(&self.admin, path).await
    }

    /// Asks the native door with any key.
    pub(crate) async fn native_as(&self, key: &str, path: &str) -> Value {
        let reply = ask(self.main, "GET", path, key, &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.body()
    }

    pub(crate) async fn revoke(&self, id: &str) {
        let reply = ask(self.main, "DELETE", &format!("/api/v1/keys/{id}"), &self.admin, &[], "").await;
        assert!(reply.status < 300, "{}", reply.text);
    }

    /// Asks with any method, key and headers; no key when it is empty.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        ask(self.address(), method, &self.path(path), key, headers, body).await
    }

    pub(crate) async fn chat(&self, key: &str, body: Value) -> Reply {
        self.chat_with(key, &[], body).await
    }

    pub(crate) async fn chat_with(&self, key: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.ask("POST", "/api/chat", key, &headers, &body.to_string()).await
    }

    pub(crate) async fn patch(&self, key: &str, name: &str, body: Value) -> Reply {
        let path = format!("/api/sessions/{name}");
        self.ask("PATCH", &path, key, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub(crate) async fn get(&self, key: &str, name: &str) -> Reply {
        self.ask("GET", &format!("/api/sessions/{name}"), key, &[], "").await
    }

    pub(crate) async fn delete(&self, key: &str, name: &str) -> Reply {
        self.ask("DELETE", &format!("/api/sessions/{name}"), key, &[], "").await
    }

    /// Opens `/ws`.
    pub(crate) async fn open(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Line, tungstenite::Error> {
        let url = format!("ws://{}{}{query}", self.address(), self.path("/ws"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (stream, response) = tokio_tungstenite::connect_async(request).await?;
        let speaks = response.headers().get("sec-websocket-protocol");
        let speaks = speaks.map(|value| value.to_str().unwrap().to_owned());
        Ok(Line { stream, speaks, strict: !query.contains("ext=") })
    }

    pub(crate) async fn line(&self, key: &str) -> Line {
        self.line_with(key, "").await
    }

    pub(crate) async fn line_with(&self, key: &str, query: &str) -> Line {
        self.open(query, &[("authorization", &format!("Bearer {key}"))]).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(SOON, self.running).await.expect("an end").unwrap();
    }
}

/// A reply, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The status and the code of a refusal.
    pub(crate) fn code(&self) -> (u16, String) {
        let body = self.body();
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
        (self.status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }
}

/// Asks over a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    if !key.is_empty() {
        head.push_str(&format!("authorization: Bearer {key}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A server that refuses early may have closed already.
    drop(socket.write_all(format!("{head}\r\n{body}").as_bytes()).await);
    let mut bytes = Vec::new();
    let _reset = timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("a reply");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status =
        head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("no status: {text}"));
    Reply { status, head: head.to_owned(), text: body.to_owned() }
}

/// A WebSocket.
pub(crate) struct Line {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) speaks: Option<String>,
    /// An unknown type of frame is a failure, as it is for orra's own client.
    strict: bool,
}

impl Line {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.send(&frame.to_string()).await;
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn binary(&mut self) {
        self.stream.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    }

    /// The next frame; none when the socket was closed.
    pub(crate) async fn try_next(&mut self) -> Option<Value> {
        loop {
            match timeout(SOON, self.stream.next()).await.expect("a frame")?.ok()? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    let kind = frame["type"].as_str().unwrap_or_default();
                    assert!(!self.strict || KNOWN.contains(&kind), "a strict client fails on {frame}");
                    return Some(frame);
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        self.try_next().await.expect("a frame, and the socket is closed")
    }

    /// The next frame that is no delta.
    pub(crate) async fn next_but_text(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] != "text_delta" {
                return frame;
            }
        }
    }

    /// The frames up to and including the first of this type.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let frame = self.next().await;
            let found = frame["type"] == kind;
            all.push(frame);
            if found {
                return all;
            }
        }
    }

    /// The code the server closes with.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            let message = timeout(SOON, self.stream.next()).await.expect("a close");
            if let Message::Close(frame) = message?.ok()? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}
