//! The Construct door: a client made for Construct works against it with no change.

mod asks;
mod attach;
mod attachments;
mod births;
mod chats;
mod devices;
mod events;
mod feed;
mod fold;
mod frames;
mod handshake;
mod hints;
mod id;
mod outbox;
mod paired;
mod pairing;
mod problems;
mod rates;
mod reply;
mod routes;
mod rows;
mod seen;
mod sessions;
mod settings;
mod socket;
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
use self::{
    births::Births,
    paired::Issuer,
    pairing::Codes,
    rates::{Inputs, Sockets},
    seen::Seen,
    uploads::Quotas,
    webhook::InFlight,
};
use super::shared::{Carriers, Cors, Dialect, Door, Path, Place, Refused};

/// What the door keeps as long as the app lives: nothing of it is a session's.
pub(crate) struct Construct {
    settings: Settings,
    births: Births,
    seen: Seen,
    inputs: Inputs,
    sockets: Sockets,
    quotas: Quotas,
    in_flight: InFlight,
    codes: Mutex<Codes<Issuer>>,
    began: std::time::Instant,
}

impl Construct {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            births: Births::default(),
            seen: Seen::default(),
            inputs: Inputs::new(settings.limits.inputs_per_minute),
            sockets: Sockets::new(settings.limits.sockets_per_key),
            quotas: Quotas::default(),
            in_flight: InFlight::default(),
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
