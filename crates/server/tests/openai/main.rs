//! The OpenAI door, over real sockets, with a scripted model behind it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod chat;
mod conversations;
mod http;
mod models;
mod responses;
mod resume;
mod socket;

use std::{net::SocketAddr, time::Duration};

use moongate_server::{AppConfig, Server, ServerConfig};
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
}

struct Serving {
    address: SocketAddr,
    key: String,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Serving {
    async fn of(kit: &TestGateway) -> Self {
        let (key, app) = AppConfig::generate(kit.gateway().ids());
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig { listen, tls: None, behind_proxy: false, app };
        let server = Server::bind(config, kit.gateway().clone()).await.unwrap();
        let (address, key) = (server.local_addr(), key.expose_secret().to_owned());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone(), Duration::ZERO));
        Self { address, key, shutdown, running }
    }
}

impl Live {
    async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let kit = setup.start().await;
        let serving = Serving::of(&kit).await;
        Self { kit, serving }
    }

    /// Ends the process as `kill -9` does, and starts it again on the same disk.
    async fn restart(&mut self) {
        self.kit.crash().await;
        self.serving.shutdown.cancel();
        self.serving.running.abort();
        self.kit.restart_unrecovered();
        self.kit.recover().await;
        self.serving = Serving::of(&self.kit).await;
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
