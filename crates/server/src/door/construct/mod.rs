//! The Construct door: a client made for Construct works against it with no change.

mod agents;
mod asks;
mod attach;
mod attachments;
mod births;
mod chats;
mod cost;
mod devices;
mod events;
mod feed;
mod fold;
mod frames;
mod handshake;
mod hints;
mod id;
mod messages;
mod names;
mod out;
mod paired;
mod pairing;
mod past;
mod problems;
mod reply;
mod routes;
mod rows;
mod seen;
mod sessions;
mod settings;
mod socket;
mod standing;
mod status;
mod stream;
mod summary;
mod turn;
mod uploads;
mod webhook;

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use moongate_protocol::Timestamp;

pub use self::settings::{Bounds, Pairing, Queue, Secret, Settings, Timing};
use self::{births::Births, paired::Issuer, pairing::Codes, seen::Seen};
use super::shared::{
    Carriers, Cors, Dialect, Door, Path, Place, Refused,
    rate::{Rate, Shares},
};

/// What the door keeps as long as the app lives: nothing of it is a session's.
pub(crate) struct Construct {
    settings: Settings,
    births: Births,
    seen: Seen,
    pub(super) inputs: Rate,
    sockets: Shares,
    turns: Shares,
    codes: Mutex<Codes<Issuer>>,
    began: std::time::Instant,
}

impl Construct {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            births: Births::default(),
            seen: Seen::default(),
            inputs: Rate::new(settings.limits.inputs_per_minute),
            sockets: Shares::new(settings.limits.sockets_per_key),
            turns: Shares::new(settings.limits.turns_per_key),
            codes: Mutex::new(Codes::new(settings.pairing)),
            began: std::time::Instant::now(),
            settings,
        }
    }
}

impl Dialect for Construct {
    const NAME: &'static str = "construct";

    fn place(&self) -> Place {
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.allowed_origins.clone(),
            carriers: Carriers { query: self.settings.allow_query_token, refuses_query: false },
        }
    }

    fn faults(&self) -> Vec<(String, String)> {
        self.settings.faults()
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        routes::all()
    }

    fn refuse(&self, refused: &Refused) -> Response {
        reply::refused(refused)
    }

    fn cors(&self) -> Cors {
        Cors {
            methods: "GET, POST, PUT, DELETE",
            headers: "Authorization, Content-Type, X-Pairing-Code, X-Idempotency-Key, X-Session-Id, \
                      X-Webhook-Secret",
            exposes: "",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Door<Construct> {
    fn now(&self) -> Timestamp {
        self.app().gateway().ids().now()
    }
}

/// Whether a client's frame is understood.
pub(crate) fn understands(frame: &str) -> bool {
    asks::read(frame).is_ok()
}

/// Whether the query names a session.
pub(crate) fn reads_query(query: &str) -> bool {
    handshake::form(query).any(|(name, value)| name == "session_id" && handshake::parse_id(&value).is_ok())
}
