//! The servers that can be measured, and how each is spoken to.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{
    Fault,
    http1::{Connection, Request},
};

/// Which server, and where.
#[derive(Clone, clap::Args)]
pub(super) struct Options {
    /// What listens there
    #[arg(long, value_enum)]
    target: Kind,
    /// Where it listens
    #[arg(long)]
    at: SocketAddr,
    /// The file that holds the key, where one is needed
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// The model to ask for [default: the server's]
    #[arg(long)]
    model: Option<String>,
    /// Tokens the model's answer has
    #[arg(long, default_value_t = 20)]
    tokens: usize,
}

/// A server's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Baseline,
    Moongate,
}

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Site {
    kind: Kind,
    pub(super) at: SocketAddr,
    /// A header line with its end, or nothing.
    authorization: String,
    model: Option<String>,
    /// The answer's last word.
    pub(super) last_word: String,
}

/// A session as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Session(pub(super) String);

/// What a client says; each server reads its own field.
#[derive(Serialize)]
struct Input<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

/// Sessions named by us.
static NAMED: AtomicU64 = AtomicU64::new(0);

impl Site {
    pub(super) fn new(options: &Options) -> Result<Self, Fault> {
        let key = options.key_file.as_ref().map(|file| {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
        });
        let key = key.transpose()?;
        Ok(Self {
            kind: options.target,
            at: options.at,
            authorization: key.map_or_else(String::new, |key| bearer(key.trim())),
            model: options.model.clone(),
            last_word: format!("zq{} ", options.tokens.saturating_sub(1)),
        })
    }

    /// A new session.
    pub(super) async fn open(&self, connection: &mut Connection) -> Result<Session, Fault> {
        if self.kind == Kind::Baseline {
            let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            return Ok(Session(format!("{run:x}-{}", NAMED.fetch_add(1, Ordering::Relaxed))));
        }
        let headers = &self.authorization;
        let request = Request { method: "POST", path: "/api/v1/sessions", headers, body: "{}" };
        let status = connection.send(&request).await?;
        let body = connection.read_all().await?;
        if status != 201 {
            return Err(refused(status, &body));
        }
        Ok(Session(serde_json::from_slice::<Created>(&body)?.id))
    }

    /// Where a turn is asked for.
    pub(super) fn turn_path(&self, session: &Session) -> String {
        match self.kind {
            Kind::Baseline => format!("/s/{}/turn", session.0),
            Kind::Moongate => format!("/api/v1/sessions/{}/inputs", session.0),
        }
    }

    /// Where a session is followed for ever.
    pub(super) fn follow_path(&self, session: &Session) -> String {
        match self.kind {
            Kind::Baseline => format!("/s/{}/events", session.0),
            Kind::Moongate => format!("/api/v1/sessions/{}/events", session.0),
        }
    }

    /// Where sockets are opened, and what they speak.
    pub(super) fn socket(&self) -> (&'static str, Option<&'static str>) {
        match self.kind {
            Kind::Baseline => ("/ws", None),
            Kind::Moongate => ("/api/v1/ws", Some("moongate.v1")),
        }
    }

    /// Headers of a request whose answer is a stream.
    pub(super) fn stream_headers(&self) -> String {
        format!("accept: text/event-stream\r\n{}", self.authorization)
    }

    /// The credential for a header, where there is one.
    pub(super) fn credential(&self) -> Option<&str> {
        self.authorization.strip_prefix("authorization: ").map(str::trim_end)
    }

    /// An input as a request's body.
    pub(super) fn input(&self, text: &str) -> Result<String, Fault> {
        self.encode(None, None, text)
    }

    /// An input as a socket's frame.
    pub(super) fn input_frame(&self, session: &Session, text: &str) -> Result<String, Fault> {
        self.encode(Some("input"), Some(&session.0), text)
    }

    /// The frame that begins following, where one is needed.
    pub(super) fn subscribe_frame(&self, session: &Session) -> Result<Option<String>, Fault> {
        let (kind, session) = (Some("subscribe"), Some(session.0.as_str()));
        let frame = Input { kind, session, input: None, text: None, model: None };
        let frame = (self.kind == Kind::Moongate).then(|| serde_json::to_string(&frame));
        Ok(frame.transpose()?)
    }

    /// What stands in the event that ends a turn well, and in the one that ends it badly.
    pub(super) fn endings(&self, over_socket: bool) -> (&'static str, &'static str) {
        match (self.kind, over_socket) {
            (Kind::Baseline, false) => ("event: done", "event: failed"),
            (Kind::Baseline, true) => ("\"type\":\"done\"", "\"type\":\"failed\""),
            (Kind::Moongate, _) => ("\"type\":\"turn.completed\"", "\"type\":\"turn.failed\""),
        }
    }

    fn encode(&self, kind: Option<&'static str>, session: Option<&str>, text: &str) -> Result<String, Fault> {
        let model = self.model.as_deref();
        let input = match self.kind {
            Kind::Baseline => Input { kind: None, session, input: Some(text), text: None, model },
            Kind::Moongate => Input { kind, session, input: None, text: Some(text), model },
        };
        Ok(serde_json::to_string(&input)?)
    }
}

/// An answer that is not the one hoped for.
pub(super) fn refused(status: u16, body: &[u8]) -> Fault {
    let shown = String::from_utf8_lossy(body);
    format!("HTTP {status}: {}", shown.chars().take(300).collect::<String>()).into()
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}
