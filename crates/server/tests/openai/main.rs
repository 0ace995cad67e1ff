//! The OpenAI door, over real sockets, with a scripted model behind it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod agents;
mod chat;
mod conversations;
mod faults;
mod http;
mod limits;
mod models;
mod responses;
mod resume;
mod socket;

use std::{net::SocketAddr, time::Duration};

use moongate_server::{AppConfig, Server, ServerConfig, door::openai::KeyLimits};
use moongate_testkit::{Script, Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::http::{Reply, Streaming};

/// Longest wait for something that has to happen.
const SOON: Duration = Duration::from_secs(20);

/// A gateway behind a server, and the key of its administrator.
struct Live {
    kit: TestGateway,
    serving: Serving,
    limits: KeyLimits,
}

/// A key that was made for a test.
struct Key {
    id: String,
    secret: String,
}

struct Serving {
    address: SocketAddr,
    key: String,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Serving {
    async fn of(kit: &TestGateway, limits: KeyLimits) -> Self {
        let (key, mut app) = AppConfig::generate(kit.gateway().ids());
        app.doors.openai.limits = limits;
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls: None, behind_proxy: false, app };
        let server = Server::bind(config, kit.gateway().clone()).await.unwrap();
        let (address, key) = (server.local_addr(), key.expose_secret().to_owned());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone(), Duration::ZERO));
        Self { address, key, shutdown, running }
    }
}

impl Key {
    fn bearer(&self) -> String {
        format!("Bearer {}", self.secret)
    }
}

impl Live {
    async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        Self::limited(setup, KeyLimits::default()).await
    }

    async fn limited(setup: Setup, limits: KeyLimits) -> Self {
        let kit = setup.start().await;
        let serving = Serving::of(&kit, limits).await;
        Self { kit, serving, limits }
    }

    /// A new key with these fields.
    async fn key(&self, mut fields: Value) -> Key {
        fields["label"] = json!("test");
        if fields["scopes"].is_null() {
            fields["scopes"] = json!(["sessions:read", "sessions:write"]);
        }
        let made = http::send(self, "POST", "/api/v1/keys", Some(fields), &[]).await;
        assert_eq!(made.status, 201, "{made:?}");
        let (id, secret) = (made.json()["id"].clone(), made.json()["secret"].clone());
        Key { id: id.as_str().unwrap().to_owned(), secret: secret.as_str().unwrap().to_owned() }
    }

    async fn revoke(&self, key: &Key) {
        let path = format!("/api/v1/keys/{}", key.id);
        let gone = http::send(self, "DELETE", &path, None, &[]).await;
        assert!(gone.status < 300, "{gone:?}");
    }

    /// Ends the process as `kill -9` does, and starts it again on the same disk.
    async fn restart(&mut self) {
        self.kit.crash().await;
        self.serving.shutdown.cancel();
        self.serving.running.abort();
        self.kit.restart_unrecovered();
        self.kit.recover().await;
        self.serving = Serving::of(&self.kit, self.limits).await;
    }

    /// Asks with another key than the administrator's.
    async fn ask(&self, key: &Key, method: &str, path: &str, body: Option<Value>) -> Reply {
        http::send(self, method, path, body, &[("authorization", &*key.bearer())]).await
    }

    fn push(&self, scripts: impl IntoIterator<Item = Script>) {
        self.kit.model().push(scripts);
    }

    async fn get(&self, path: &str) -> Reply {
        http::send(self, "GET", path, None, &[]).await
    }

    async fn delete(&self, path: &str) -> Reply {
        http::send(self, "DELETE", path, None, &[]).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        http::send(self, "POST", path, Some(body), &[]).await
    }

    async fn stream(&self, path: &str, body: Value) -> Streaming {
        http::open(self, "POST", path, Some(body), &[]).await
    }
}

/// A request for a completion.
fn asks(text: &str) -> Value {
    json!({"model": "moongate/main", "messages": [{"role": "user", "content": text}]})
}

/// A tool of the client's, as a completion has it.
fn weather() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {"name": "weather", "description": "tells", "parameters": parameters}})
}

/// The same as a response has it.
fn weather_flat() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "name": "weather", "description": "tells", "parameters": parameters, "strict": true})
}
