//! The Oxios door: clients written for Oxios 1.0.1 and its later web UIs.

mod agents;
mod approvals;
mod chat;
mod client;
mod config;
mod cursors;
mod displayed;
mod ending;
mod events;
mod fault;
mod follow;
mod frames;
mod happening;
mod history;
mod housekeeping;
mod ids;
mod mask;
mod obey;
mod out;
mod pages;
mod past;
mod readiness;
mod ring;
mod service;
mod sessions;
mod settings;
mod show;
mod signs;
mod socket;
mod stream;
mod tickets;
mod turn;
mod ui;
mod wait;

use std::{
    sync::{PoisonError, RwLock},
    time::Instant,
};

use axum::{
    extract::{FromRequestParts, Request, State},
    response::Response,
};
use http::{StatusCode, request::Parts};
use moongate_core::{Clock as _, SystemClock};
use moongate_protocol::{Principal, Tenant};
use tokio::sync::Notify;

use self::fault::{Fault, refusal, refuse};
pub(super) use self::housekeeping::keep as keep_house;
pub use self::settings::{Prune, Settings};
use super::shared::{Carriers, Cause, Cors, Dialect, Door, Head, Path, Place, Refused, rate::Rate};
use crate::{
    caller::Authenticated,
    reply::{Answer, Failure},
};
use moongate_protocol::ErrorCode;

/// What the store calls the door.
const NAME: &str = "oxios";
/// The socket's path.
const STREAM: &str = "/api/chat/stream";
/// Characters of a path that a refusal repeats.
const PATH_CHARS: usize = 200;

/// Whose sockets, frames and events.
type Owner = (Tenant, Principal);

/// What the door keeps, all of it in memory.
pub(crate) struct Oxios {
    settings: Settings,
    tickets: tickets::Tickets,
    cursors: cursors::Cursors,
    sockets: stream::Sockets,
    rings: events::Rings,
    rates: Rate,
    displayed: displayed::Displayed,
    readiness: readiness::Readiness,
    prune: RwLock<Prune>,
    /// Something about pruning changed.
    changed: Notify,
    began: Instant,
}

impl Oxios {
    pub(crate) fn new(settings: Settings, prune: Prune) -> Self {
        Self {
            tickets: tickets::Tickets::default(),
            cursors: cursors::Cursors::new(SystemClock.now()),
            sockets: stream::Sockets::default(),
            rings: events::Rings::default(),
            rates: Rate::new(settings.requests_per_minute),
            displayed: displayed::Displayed::default(),
            readiness: readiness::Readiness::default(),
            prune: RwLock::new(prune),
            changed: Notify::new(),
            began: Instant::now(),
            settings,
        }
    }

    /// Puts settings in force that can change while the door is open.
    pub(super) fn change(&self, settings: &Settings, prune: Prune) {
        self.rates.change(settings.requests_per_minute);
        *self.prune.write().unwrap_or_else(PoisonError::into_inner) = prune;
        self.changed.notify_one();
    }

    /// Which sessions pruning removes now.
    fn prune(&self) -> Prune {
        *self.prune.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller of a route, within its key's rate.
struct User(Authenticated);

impl FromRequestParts<Door<Oxios>> for User {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, door: &Door<Oxios>) -> Result<Self, Fault> {
        let caller = Authenticated::from_request_parts(parts, door).await?;
        door.rates.take(caller.key()).map_err(Fault::too_often)?;
        Ok(Self(caller))
    }
}

impl Dialect for Oxios {
    const NAME: &'static str = NAME;

    fn place(&self) -> Place {
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.allowed_origins.clone(),
            carriers: Carriers { query: self.settings.allow_query_token, refuses_query: true },
        }
    }

    fn faults(&self) -> Vec<(String, String)> {
        self.settings.faults()
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        let mut paths = vec![
            Path::get("/health", service::health).public(),
            Path::get("/health/ready", service::ready).public(),
            match self.settings.public_metrics {
                true => Path::get("/metrics", service::public_metrics).public(),
                false => Path::get("/metrics", service::metrics),
            },
            Path::get("/", ui::serve).public(),
            Path::get("/{*path}", ui::serve).public(),
            Path::any("/api/{*rest}", unsupported),
            Path::any("/openapi.json", unsupported),
            Path::any("/api-docs", unsupported),
            Path::any("/api-docs/{*rest}", unsupported),
        ];
        paths.extend(talking());
        paths.extend(looking());
        paths
    }

    fn refuse(&self, refused: &Refused) -> Response {
        match refused.cause {
            Cause::Credential => refusal(StatusCode::UNAUTHORIZED, "unauthorized"),
            _ => refuse(&refused.failure),
        }
    }

    fn cors(&self) -> Cors {
        Cors {
            methods: "GET, POST, PUT, PATCH, DELETE",
            headers: "Authorization, Content-Type, Last-Event-ID",
            exposes: "Retry-After",
        }
    }

    fn ticket(&self, head: &Head<'_>) -> Option<Answer<Authenticated>> {
        if head.uri.path() != STREAM {
            return None;
        }
        let pairs = head.uri.query()?.split('&');
        let ticket = pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "ticket")?.1;
        let caller = self.tickets.redeem(ticket, stream::origin(head.headers), tokio::time::Instant::now());
        Some(caller.ok_or_else(|| Failure::new(ErrorCode::Unauthorized, "unauthorized")))
    }
}

/// Routes that say something or decide something.
fn talking() -> Vec<Path<Door<Oxios>>> {
    vec![
        Path::post("/api/chat", chat::post),
        Path::post("/api/chat/ticket", stream::ticket),
        Path::get(STREAM, stream::open).socket(),
        Path::post("/api/chat/tool-approval/{id}/respond", approvals::respond),
        Path::get("/api/approvals", approvals::list),
        Path::post("/api/approvals/{id}/approve", approvals::approve),
        Path::post("/api/approvals/{id}/reject", approvals::reject),
        Path::post("/api/agents/{id}/kill", agents::kill),
    ]
}

/// Routes that show something, and what is done to it.
fn looking() -> Vec<Path<Door<Oxios>>> {
    vec![
        Path::get("/api/sessions", sessions::list),
        Path::get("/api/sessions/{id}", sessions::show),
        Path::delete("/api/sessions/{id}", sessions::delete),
        Path::post("/api/sessions/prune", sessions::prune),
        Path::get("/api/sessions/{id}/tool-calls", sessions::tool_calls),
        Path::get("/api/events", events::follow),
        Path::get("/api/agents", agents::list),
        Path::get("/api/agents/{id}", agents::show),
        Path::get("/api/agents/{id}/trace", agents::trace),
        Path::get("/api/agents/{id}/logs", agents::logs),
        Path::get("/api/config", config::show),
        Path::put("/api/config", config::change),
        Path::patch("/api/config", config::change),
        Path::get("/api/status", service::status),
        Path::get("/api/metrics", service::metrics),
    ]
}

/// Everything of Oxios that is not here.
async fn unsupported(State(_): State<Door<Oxios>>, User(_): User, request: Request) -> Response {
    let path: String = request.uri().path().chars().filter(|c| !c.is_control()).take(PATH_CHARS).collect();
    let method = request.method();
    refusal(StatusCode::NOT_FOUND, &format!("not supported by this server: {method} {path}"))
}

/// Whether a client's frame is understood, whichever client it comes from.
pub(crate) fn understands(frame: &str) -> bool {
    let clients = [None, Some(frames::Client::Plain), Some(frames::Client::Ui1), Some(frames::Client::Ui2)];
    clients.into_iter().any(|client| client::read(frame, client).is_ok())
}
