//! The servers and doors that can be measured, and where each is reached.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use serde::Deserialize;

use super::words;
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

/// A server's kind, and through which door it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Baseline,
    /// The native door
    Moongate,
    Oxios,
    Construct,
    Orra,
    /// Chat completions of the OpenAI door
    Chat,
    /// Responses of the OpenAI door
    Responses,
}

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) kind: Kind,
    pub(super) at: SocketAddr,
    /// A header line with its end, or nothing.
    authorization: String,
    pub(super) model: Option<String>,
    /// The answer's last word.
    pub(super) last_word: String,
}

/// A session as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Session(pub(super) String);

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct NewKey {
    secret: String,
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
        match self.kind {
            Kind::Moongate => self.create(connection).await.map(Session),
            Kind::Responses => {
                let id = self.create(connection).await?;
                let id = id.strip_prefix("ses_").ok_or("a session's id is ses_…")?;
                Ok(Session(format!("conv_{id}")))
            }
            // Its name is the client's.
            _ => {
                let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
                Ok(Session(format!("{run:x}-{}", NAMED.fetch_add(1, Ordering::Relaxed))))
            }
        }
    }

    /// The same server to somebody else, who has no session there.
    pub(super) async fn to_another(&self, connection: &mut Connection, number: usize) -> Result<Self, Fault> {
        let body = format!(r#"{{"principal":"bench-{number}","scopes":["sessions:read","sessions:write"]}}"#);
        let headers = &self.authorization;
        let request = Request { method: "POST", path: "/api/v1/keys", headers, body: &body };
        let status = connection.send(&request).await?;
        let body = connection.read_all().await?;
        if status != 201 {
            return Err(refused(status, &body));
        }
        let made: NewKey = serde_json::from_slice(&body)?;
        Ok(Self { authorization: bearer(&made.secret), ..self.clone() })
    }

    async fn create(&self, connection: &mut Connection) -> Result<String, Fault> {
        let headers = &self.authorization;
        let request = Request { method: "POST", path: "/api/v1/sessions", headers, body: "{}" };
        let status = connection.send(&request).await?;
        let body = connection.read_all().await?;
        if status != 201 {
            return Err(refused(status, &body));
        }
        Ok(serde_json::from_slice::<Created>(&body)?.id)
    }

    /// Where a turn is asked for.
    pub(super) fn turn_path(&self, session: &Session) -> String {
        match self.kind {
            Kind::Baseline => format!("/s/{}/turn", session.0),
            Kind::Chat => "/openai/v1/chat/completions".into(),
            Kind::Responses => "/openai/v1/responses".into(),
            _ => format!("/api/v1/sessions/{}/inputs", session.0),
        }
    }

    /// Where a session is followed for ever.
    pub(super) fn follow_path(&self, session: &Session) -> String {
        match self.kind {
            Kind::Baseline => format!("/s/{}/events", session.0),
            _ => format!("/api/v1/sessions/{}/events", session.0),
        }
    }

    /// Where sockets are opened, to follow what others do or to talk, and what they speak.
    pub(super) fn socket(&self, session: &Session, follows: bool) -> (String, Option<&'static str>) {
        match self.kind {
            Kind::Baseline => ("/ws".into(), None),
            Kind::Oxios if follows => ("/oxios/api/chat/stream?mirror=1".into(), None),
            Kind::Oxios => ("/oxios/api/chat/stream".into(), None),
            Kind::Construct => (format!("/construct/ws/chat?session_id={}", session.0), Some("construct.v1")),
            Kind::Orra => ("/orra/ws".into(), Some("orra.v1")),
            Kind::Responses => ("/openai/v1/responses".into(), None),
            Kind::Moongate | Kind::Chat => ("/api/v1/ws".into(), Some("moongate.v1")),
        }
    }

    /// Headers of a request whose answer is a stream.
    pub(super) fn stream_headers(&self, session: &Session) -> String {
        let named = match self.kind {
            Kind::Chat => format!("x-moongate-session: {}\r\n", session.0),
            _ => String::new(),
        };
        format!("accept: text/event-stream\r\n{named}{}", self.authorization)
    }

    /// The credential for a header, where there is one.
    pub(super) fn credential(&self) -> Option<&str> {
        self.authorization.strip_prefix("authorization: ").map(str::trim_end)
    }

    /// What is said in this session, as the body of a request or as a socket's frame.
    pub(super) fn input(&self, session: &Session, text: &str, over_socket: bool) -> Result<String, Fault> {
        let model = self.model.as_deref();
        Ok(words::input(self.kind, over_socket, &words::Said { session: &session.0, text, model })?)
    }

    /// The frame that begins following, where one is needed.
    pub(super) fn subscribe_frame(&self, session: &Session) -> Result<Option<String>, Fault> {
        Ok(words::subscribe(self.kind, &session.0)?)
    }

    /// Whether a socket of this door is told something before it asks.
    pub(super) fn greets(&self) -> bool {
        self.kind == Kind::Construct
    }

    /// What stands in the event that ends a turn well, and in the one that ends it badly.
    pub(super) fn endings(&self, over_socket: bool) -> (&'static str, &'static str) {
        match (self.kind, over_socket) {
            (Kind::Baseline, false) => ("event: done", "event: failed"),
            (Kind::Baseline, true) => ("\"type\":\"done\"", "\"type\":\"failed\""),
            (Kind::Moongate, _) => ("\"type\":\"turn.completed\"", "\"type\":\"turn.failed\""),
            (Kind::Oxios | Kind::Construct, _) => ("\"type\":\"done\"", "\"type\":\"error\""),
            (Kind::Orra, _) => ("\"type\":\"response\"", "\"type\":\"error\""),
            (Kind::Chat, _) => ("data: [DONE]", "\"error\":{"),
            (Kind::Responses, _) => ("\"type\":\"response.completed\"", "\"type\":\"response.failed\""),
        }
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
