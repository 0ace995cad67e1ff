//! One turn: the history up, the answer down, both kept.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bytes::BytesMut;
use memchr::memmem;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::{Shared, log::Entry};
use crate::{
    Fault,
    http1::{Connection, Request},
};

/// What a client said.
#[derive(Deserialize)]
pub(super) struct Input {
    /// Over a WebSocket only; elsewhere it is in the path.
    #[serde(default)]
    pub(super) session: String,
    pub(super) input: String,
    pub(super) model: Option<String>,
}

/// What a turn tells.
pub(super) enum Told {
    /// The tokens that came in one read, and the number of the first.
    Tokens(u64, Vec<String>),
    /// The turn is kept; this many tokens.
    Done(u64),
    Failed(String),
}

/// The model's connections.
pub(super) struct Upstream {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

/// The stream's parse so far.
#[derive(Default)]
struct Answer {
    unread: BytesMut,
    text: String,
    tokens: u64,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

/// Runs a turn to its end, whoever listens.
pub(super) async fn run(shared: &Shared, input: Input, told: mpsc::Sender<Told>) {
    let ended = match proceed(shared, input, &told).await {
        Ok(tokens) => Told::Done(tokens),
        Err(fault) => Told::Failed(fault.to_string()),
    };
    // Nobody listens any more.
    told.send(ended).await.ok();
}

async fn proceed(shared: &Shared, input: Input, told: &mpsc::Sender<Told>) -> Result<u64, Fault> {
    let history = shared.history(&input.session);
    let mut history = history.lock().await;
    let said = serde_json::to_string(&input.input)?;
    let comma = if history.is_empty() { "" } else { "," };
    history.push_str(comma);
    push_message(&mut history, "user", &said);
    let model = serde_json::to_string(input.model.as_ref().unwrap_or(&shared.model))?;
    let body = format!("{{\"model\":{model},\"stream\":true,\"messages\":[{}]}}", *history);
    let answer = shared.upstream.ask(&body, told).await?;
    let answered = serde_json::to_string(&answer.text)?;
    history.push(',');
    push_message(&mut history, "assistant", &answered);
    if let Some(log) = &shared.log {
        let (written, is_written) = oneshot::channel();
        let entry = Entry { session: input.session, body: format!("{said}\n{answered}"), written };
        log.send(entry).await?;
        is_written.await?;
    }
    Ok(answer.tokens)
}

fn push_message(history: &mut String, role: &str, content: &str) {
    for part in ["{\"role\":\"", role, "\",\"content\":", content, "}"] {
        history.push_str(part);
    }
}

impl Upstream {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default() }
    }

    async fn ask(&self, body: &str, told: &mpsc::Sender<Told>) -> Result<Answer, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let request = Request { method: "POST", path: "/v1/chat/completions", headers: "", body };
        let status = connection.send(&request).await?;
        if status != 200 {
            return Err(format!("the model answered {status}").into());
        }
        let mut answer = Answer::default();
        while connection.read(&mut answer.unread).await? {
            let first = answer.tokens + 1;
            let tokens = answer.take_tokens()?;
            if !tokens.is_empty() {
                // The turn goes on when nobody listens.
                told.send(Told::Tokens(first, tokens)).await.ok();
            }
        }
        if connection.is_reusable() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }
}

impl Answer {
    fn take_tokens(&mut self) -> serde_json::Result<Vec<String>> {
        let mut tokens = Vec::new();
        while let Some(end) = memmem::find(&self.unread, b"\n\n") {
            let event = self.unread.split_to(end + 2);
            let Some(data) = event.strip_prefix(b"data: ").filter(|data| !data.starts_with(b"[DONE]")) else {
                continue;
            };
            let chunk: Chunk<'_> = serde_json::from_slice(data)?;
            let content = chunk.choices.into_iter().next().and_then(|choice| choice.delta.content);
            if let Some(token) = content.filter(|token| !token.is_empty()) {
                self.text.push_str(&token);
                self.tokens += 1;
                tokens.push(token.into_owned());
            }
        }
        Ok(tokens)
    }
}
