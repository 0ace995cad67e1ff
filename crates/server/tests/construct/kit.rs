//! A server with the door open on both mounts, a scripted model, and clients that hold sockets by hand.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_server::{AppConfig, Server, ServerConfig, door::construct::Settings};
use moongate_testkit::{Script, Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

/// Longest wait of any test for something that has to happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Where a test comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mount {
    /// Beneath the prefix, on the main listener.
    Prefix,
    /// At the root of the door's own listener.
    Own,
}

/// Both mounts.
pub(crate) const MOUNTS: [Mount; 2] = [Mount::Prefix, Mount::Own];

/// A server that runs.
pub(crate) struct Kit {
    pub(crate) gateway: TestGateway,
    pub(crate) mount: Mount,
    pub(crate) key: String,
    pub(crate) admin: String,
    admin_key: moongate_server::AdminKey,
    pub(crate) settings: Settings,
    /// Loopback is a proxy that says whom it speaks for.
    behind_proxy: bool,
    main: SocketAddr,
    own: SocketAddr,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Kit {
    pub(crate) async fn new(mount: Mount) -> Self {
        Self::with(mount, Setup::default(), |_| {}).await
    }

    pub(crate) async fn with(mount: Mount, setup: Setup, change: impl FnOnce(&mut Settings)) -> Self {
        let gateway = setup.start().await;
        let (admin, admin_key) = moongate_server::AdminKey::generate(gateway.gateway().ids());
        let admin = admin.expose_secret().to_owned();
        let mut settings = Settings { listen: Some("127.0.0.1:0".parse().unwrap()), ..Settings::default() };
        settings.limits.inputs_per_minute = 10_000;
        change(&mut settings);
        let none = "127.0.0.1:0".parse().unwrap();
        let (shutdown, key) = (CancellationToken::new(), String::new());
        let running = None;
        let mut kit = Self {
            gateway,
            mount,
            key,
            admin,
            admin_key,
            settings,
            behind_proxy: false,
            main: none,
            own: none,
            shutdown,
            running,
        };
        kit.serve().await;
        kit.key = kit.key_of("bob").await.1;
        kit
    }

    async fn serve(&mut self) {
        let mut app = AppConfig::new(self.admin_key.clone());
        app.doors.construct = self.settings.clone();
        if self.behind_proxy {
            app.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        }
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls: None, behind_proxy: false, app };
        let server = Server::bind(config, self.gateway.gateway().clone()).await.unwrap();
        (self.main, self.own) = (server.local_addr(), server.door_addr("construct").unwrap());
        self.shutdown = CancellationToken::new();
        self.running = Some(tokio::spawn(server.run(self.shutdown.clone(), Duration::from_secs(5))));
    }

    /// Serves again, behind a proxy on this machine.
    pub(crate) async fn behind_a_proxy(&mut self) {
        self.behind_proxy = true;
        self.restart().await;
    }

    /// Ends the server as `kill -9` does, and starts it again on the same disk.
    pub(crate) async fn restart(&mut self) {
        self.gateway.crash().await;
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
        self.gateway.restart().await;
        self.serve().await;
    }

    /// Scripts for the model's next calls.
    pub(crate) fn scripts(&self, scripts: impl IntoIterator<Item = Script>) {
        self.gateway.model().push(scripts);
    }

    /// Number of calls to the model.
    pub(crate) fn calls(&self) -> usize {
        self.gateway.model().requests().len()
    }

    /// A key of a principal: its id and its text.
    pub(crate) async fn key_of(&self, principal: &str) -> (String, String) {
        let scopes =
            json!(["sessions:read", "sessions:write", "usage:read", "approvals:decide", "keys:manage"]);
        self.key_with(principal, scopes).await
    }

    /// Whether a client was let go because it does not read. The socket itself is not asked: that would be reading.
    pub(crate) async fn has_let_go(&self) -> bool {
        let key = [("authorization", format!("Bearer {}", self.admin))];
        let metrics = http(self.main, ("GET", "/metrics"), &key, b"").await.body;
        metrics.as_str().unwrap().contains("moongate_stalled_clients_total 1\n")
    }

    /// Waits until one was.
    pub(crate) async fn stalled(&self) {
        let stalled = async {
            while !self.has_let_go().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, stalled).await.expect("a client is let go");
    }

    pub(crate) async fn key_with(&self, principal: &str, scopes: Value) -> (String, String) {
        let body = json!({ "principal": principal, "scopes": scopes }).to_string();
        let headers = [
            ("authorization", format!("Bearer {}", self.admin)),
            ("content-type", "application/json".to_owned()),
        ];
        let got = http(self.main, ("POST", "/api/v1/keys"), &headers, body.as_bytes()).await;
        assert_eq!(got.status, 201, "{got:?}");
        (got.body["id"].as_str().unwrap().to_owned(), got.body["secret"].as_str().unwrap().to_owned())
    }

    /// Ends a key.
    pub(crate) async fn revoke(&self, id: &str) {
        let headers = [("authorization", format!("Bearer {}", self.admin))];
        let got = http(self.main, ("DELETE", &format!("/api/v1/keys/{id}")), &headers, b"").await;
        assert_eq!(got.status, 204, "{got:?}");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.mount {
            Mount::Prefix => self.main,
            Mount::Own => self.own,
        }
    }

    pub(crate) fn path(&self, path: &str) -> String {
        match self.mount {
            Mount::Prefix => format!("/construct{path}"),
            Mount::Own => path.to_owned(),
        }
    }

    /// A request with these headers only.
    pub(crate) async fn raw(&self, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Got {
        http(self.address(), (method, &self.path(path)), headers, body).await
    }

    /// A request with a key.
    pub(crate) async fn ask_as(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Got {
        let mut headers = vec![("authorization", format!("Bearer {key}"))];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        self.raw(method, path, &headers, body.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.ask_as(&self.key, "GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> Got {
        self.ask_as(&self.key, "POST", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        self.ask_as(&self.key, "DELETE", path, None).await
    }

    /// The rows of a session.
    pub(crate) async fn rows(&self, id: &str) -> Vec<Value> {
        let got = self.get(&format!("/api/sessions/{id}/messages")).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.body["messages"].as_array().unwrap().clone()
    }

    /// Opens a chat socket as the unchanged web client does.
    pub(crate) async fn chat(&self, query: &str) -> Chat {
        self.chat_as(&self.key, query).await
    }

    pub(crate) async fn chat_as(&self, key: &str, query: &str) -> Chat {
        let protocols = format!("construct.v1, bearer.{key}");
        let open = self.open(query, &[("sec-websocket-protocol", protocols)]).await;
        open.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn open(
        &self,
        query: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Chat, tungstenite::Error> {
        let url = format!("ws://{}{}?{query}", self.address(), self.path("/ws/chat"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (stream, response) = tokio_tungstenite::connect_async(request).await?;
        let speaks = response.headers().get("sec-websocket-protocol");
        let speaks = speaks.map(|value| value.to_str().unwrap().to_owned());
        Ok(Chat { stream, speaks })
    }

    /// A socket whose `session_start` was read.
    pub(crate) async fn joined(&self, id: &str) -> Chat {
        let mut chat = self.chat(&format!("session_id={id}")).await;
        assert_eq!(chat.next().await["type"], "session_start");
        chat
    }
}

/// A chat socket.
pub(crate) struct Chat {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) speaks: Option<String>,
}

impl Chat {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn message(&mut self, content: &str) {
        self.say(json!({ "type": "message", "content": content })).await;
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        self.try_next().await.expect("the socket is open")
    }

    /// The next frame; none when the socket was closed.
    pub(crate) async fn try_next(&mut self) -> Option<Value> {
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
        while let Some(frame) = self.try_next().await {
            let found = frame["type"] == kind;
            all.push(frame);
            if found {
                return all;
            }
        }
        panic!("the socket was closed before {kind}: {all:#?}");
    }

    /// The next frame the old client knows.
    pub(crate) async fn known(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            let added = ["accepted", "turn_start", "user_message", "pong", "session_renamed"];
            if !added.iter().any(|kind| frame["type"] == *kind) {
                return frame;
            }
        }
    }

    /// The next known frame has these fields.
    pub(crate) async fn expect(&mut self, fields: Value) -> Value {
        let frame = self.known().await;
        assert_has(&frame, &fields);
        frame
    }

    /// Everything that was sent up to a ping's answer.
    pub(crate) async fn so_far(&mut self) -> Vec<Value> {
        self.say(json!({ "type": "ping" })).await;
        let mut all = self.until("pong").await;
        all.pop();
        all
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

/// The frame has these fields with these values.
pub(crate) fn assert_has(frame: &Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&frame[name], value, "{name} of {frame:#}");
    }
}

/// The types of frames.
pub(crate) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

pub(crate) async fn http(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, String)],
    body: &[u8],
) -> Got {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: localhost:{}\r\n", address.port()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    // A server that refuses may have closed before it read all.
    drop(socket.write_all(head.as_bytes()).await);
    drop(socket.write_all(body).await);
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut reply)).await;
    drop(read.expect("a reply"));
    parse(&reply)
}

fn parse(reply: &[u8]) -> Got {
    let reply = String::from_utf8_lossy(reply);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    Got { status, head: head.to_ascii_lowercase(), body }
}

/// The status a handshake was refused with.
pub(crate) fn refused<T>(result: Result<T, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("not refused over HTTP: {other}"),
        Ok(_) => panic!("not refused"),
    }
}
