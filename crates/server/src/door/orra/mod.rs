//! The orra door: sessions named by namespaces, one route to chat, one socket that streams.

mod chat;
mod fault;
mod frames;
mod history;
mod name;
mod rest;
mod settings;
mod socket;
mod translate;

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};

use self::fault::Fault;
pub use self::settings::Settings;
use super::shared::{
    Carriers, Cors, Dialect, Door, Path, Place, Refused,
    rate::{Rate, Shares},
};

/// What the door keeps.
pub(crate) struct Orra {
    settings: Settings,
    pub(super) rate: Rate,
    turns: Shares,
    sockets: Shares,
}

impl Orra {
    pub(crate) fn new(settings: Settings) -> Self {
        let limits = settings.limits;
        Self {
            rate: Rate::new(limits.inputs_per_minute),
            turns: Shares::new(limits.turns_per_key),
            sockets: Shares::new(limits.sockets_per_key),
            settings,
        }
    }

    /// How long an input may wait for its turn.
    fn patience(&self) -> Option<Duration> {
        let secs = self.settings.queue.wait_secs;
        (secs > 0).then(|| Duration::from_secs(secs))
    }
}

impl Dialect for Orra {
    const NAME: &'static str = "orra";
    const ORIGINS_KEY: &'static str = "cors_origins";

    fn place(&self) -> Place {
        let carriers = Carriers { query: self.settings.allow_query_token, refuses_query: false };
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.cors_origins.clone(),
            carriers,
        }
    }

    fn faults(&self) -> Vec<(String, String)> {
        self.settings.faults()
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        vec![
            Path::get("/health", rest::health).public(),
            Path::post("/api/chat", rest::chat),
            Path::get("/api/sessions/{id}", rest::session),
            Path::delete("/api/sessions/{id}", rest::delete),
            Path::patch("/api/sessions/{id}", rest::patch),
            Path::get("/ws", socket::open).socket(),
        ]
    }

    fn refuse(&self, refused: &Refused) -> Response {
        Fault::from(refused).into_response()
    }

    fn cors(&self) -> Cors {
        Cors {
            methods: "GET, POST, PATCH, DELETE",
            headers: "Authorization, Content-Type, Idempotency-Key",
            exposes: "Retry-After",
        }
    }
}

/// Whether a client's frame is understood.
pub(crate) fn understands(frame: &str) -> bool {
    frames::read(frame).1.is_ok()
}

/// Whether the path ends with a name.
pub(crate) fn reads_name(uri: &http::Uri) -> bool {
    name::Name::of_path(uri).is_ok()
}
