//! A gateway in memory with a scripted model, asked through its router.

#![expect(dead_code, reason = "each test file uses its own part of this")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

pub(crate) mod live;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use moongate_core::*;
use moongate_protocol::*;
use moongate_server::{App, AppConfig, router};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// Longest wait of any test for something that has to happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What the model does: `hold …` waits for a permit before it answers, `fail` fails, `panic` panics, anything
/// else is repeated word by word.
pub(crate) struct Script {
    info: ModelInfo,
    pub(crate) permits: Arc<Semaphore>,
}

struct Answer {
    info: ModelInfo,
    said: String,
    permits: Arc<Semaphore>,
    sent: bool,
}

impl Models for Script {
    fn get(&self, name: &ModelName) -> Option<Arc<dyn Model>> {
        let same = *name == self.info.name;
        same.then(|| {
            Arc::new(Self { info: self.info.clone(), permits: Arc::clone(&self.permits) }) as Arc<dyn Model>
        })
    }

    fn list(&self) -> Vec<ModelInfo> {
        vec![self.info.clone()]
    }
}

impl Model for Script {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let said = request.messages.iter().rev().find_map(|message| said(message));
        let (info, permits) = (self.info.clone(), Arc::clone(&self.permits));
        Box::new(Answer { info, said: said.unwrap_or_default(), permits, sent: false })
    }
}

fn said(message: &PromptMessage) -> Option<String> {
    match message {
        PromptMessage::User(parts) => Some(Part::join_text(parts)),
        _ => None,
    }
}

#[async_trait]
impl ModelStream for Answer {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        if self.sent {
            let tokens = Tokens { input: 3, output: 5, ..Tokens::default() };
            pieces.extend([Piece::Usage(tokens), Piece::Finish(StopReason::EndTurn)]);
            return;
        }
        if self.said.starts_with("hold") {
            self.permits.acquire().await.expect("open").forget();
        }
        if self.said == "fail" {
            pieces.push(Piece::Fault(Fault::new(ErrorCode::ProviderAuth, "the provider refused")));
            return;
        }
        self.sent = true;
        let words = self.said.split_inclusive(' ').map(|word| Piece::Text(word.to_owned()));
        pieces.push(Piece::Text("echo: ".into()));
        pieces.extend(words);
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}

/// A gateway behind its router.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) gateway: Gateway,
    pub(crate) app: App,
    pub(crate) router: Router,
    pub(crate) admin: String,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) clock: Arc<TestClock>,
}

/// A clock the test moves.
pub(crate) struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn catalog(permits: &Arc<Semaphore>) -> Catalog {
    let model: ModelName = "test/echo".parse().unwrap();
    let price = Price {
        input: MicroUsd(1_000_000),
        output: MicroUsd(2_000_000),
        cache_read: None,
        cache_write: None,
        source: "test".into(),
    };
    let info = ModelInfo { name: model.clone(), context_window: Some(100_000), price: Some(price) };
    let agents = ["main", "other"].map(|name| {
        let agent = Agent::new(name.parse().unwrap(), model.clone());
        (agent.name.clone(), Arc::new(agent))
    });
    Catalog {
        agents: BTreeMap::from(agents),
        default_agent: "main".parse().unwrap(),
        models: Arc::new(Script { info, permits: Arc::clone(permits) }),
        tools: Toolbox::default(),
        tool_policies: Default::default(),
        policy_rules: Default::default(),
        spending: Default::default(),
    }
}

pub(crate) fn gateway(permits: &Arc<Semaphore>) -> (Gateway, Arc<TestClock>) {
    let clock = Arc::new(TestClock(Mutex::new(SystemClock.now())));
    let ids = Ids::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SystemEntropy));
    let catalog = catalog(permits);
    let store = Arc::new(MemoryStore::new());
    (Gateway::new(Parts { store, catalog, ids, limits: Limits::default() }), clock)
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut AppConfig)) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let (gateway, clock) = gateway(&permits);
        let (admin, mut config) = AppConfig::generate(gateway.ids());
        change(&mut config);
        let app = App::new(gateway.clone(), config);
        let router = router(app.clone());
        Self { gateway, app, router, admin: admin.expose_secret().to_owned(), permits, clock }
    }

    /// A request as the administrator.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        anonymous(method, path).header("authorization", format!("Bearer {}", self.admin))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        tokio::time::timeout(SOON, self.router.clone().oneshot(request)).await.expect("an answer").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.send(self.request("GET", path).body(Body::empty()).unwrap()).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.json("POST", path, body).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.request(method, path).header("content-type", "application/json");
        read(self.send(request.body(body.to_string().into()).unwrap()).await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        read(self.send(self.request("DELETE", path).body(Body::empty()).unwrap()).await).await
    }

    /// A new session's path.
    pub(crate) async fn session(&self) -> String {
        let (status, body) = self.post("/api/v1/sessions", json!({})).await;
        assert_eq!(status, 201, "{body}");
        format!("/api/v1/sessions/{}", body["id"].as_str().unwrap())
    }

    /// Says something and waits for the turn's result.
    pub(crate) async fn turn(&self, session: &str, text: &str) -> Value {
        let request = self
            .request("POST", &format!("{session}/inputs"))
            .header("content-type", "application/json")
            .header("prefer", "wait=10");
        let body = json!({ "text": text }).to_string();
        let (status, body) = read(self.send(request.body(body.into()).unwrap()).await).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(&self, path: &str) -> Stream {
        let request = self.request("GET", path).header("accept", "text/event-stream");
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Stream::new(response)
    }

    /// Makes a key with these fields; its id and its text.
    pub(crate) async fn key(&self, fields: Value) -> (String, String) {
        let (status, body) = self.post("/api/v1/keys", fields).await;
        assert_eq!(status, 201, "{body}");
        (body["id"].as_str().unwrap().to_owned(), body["secret"].as_str().unwrap().to_owned())
    }

    /// The same gateway, asked with another key.
    pub(crate) fn as_key(&self, key: &str) -> Self {
        Self { admin: key.to_owned(), ..self.clone() }
    }
}

/// A request without a credential.
pub(crate) fn anonymous(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost")
}

/// Status and JSON body; an empty body is null.
pub(crate) async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = tokio::time::timeout(SOON, response.into_body().collect()).await.expect("a body");
    let bytes = bytes.unwrap().to_bytes();
    if bytes.is_empty() {
        return (status, Value::Null);
    }
    let body = serde_json::from_slice(&bytes);
    (status, body.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

/// A stream of server-sent events, read one by one.
pub(crate) struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    pub(crate) fn new(response: Response<Body>) -> Self {
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; none at the stream's end. Comments are passed over.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(sent) = parse(&event) {
                    return Some(sent);
                }
                continue;
            }
            let frame = tokio::time::timeout(SOON, self.body.frame()).await.expect("an event");
            let bytes: Bytes = frame?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Events up to and including the first of this name.
    pub(crate) async fn until(&mut self, event: &str) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.next().await {
            let found = sent.event == event;
            all.push(sent);
            if found {
                return all;
            }
        }
        panic!("the stream ended before {event}: {all:?}");
    }

    /// Every event up to the stream's end.
    pub(crate) async fn rest(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.next().await {
            all.push(sent);
        }
        all
    }
}

fn parse(text: &str) -> Option<Sent> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = field("data: ")?;
    Some(Sent {
        id: field("id: "),
        event: field("event: ").unwrap_or_default(),
        data: serde_json::from_str(&data).unwrap(),
    })
}
