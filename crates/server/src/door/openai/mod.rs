//! The OpenAI door: agents for everything that speaks to the OpenAI API. A completion is a turn, a response is a
//! turn that can be read again, a conversation is a session.

mod body;
mod chat;
mod content;
mod conversation;
mod conversations;
mod failure;
mod ids;
mod models;
mod page;
mod rates;
mod responses;
mod run;
mod settings;
mod stream;
mod watch;

use std::sync::Arc;

use axum::{
    extract::State,
    middleware::map_response,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use moongate_core::Ids;
use moongate_protocol::ErrorCode;

use self::failure::{Fault, RequestIds, quoted};
pub use self::settings::{KeyLimits, Settings};
use super::shared::{
    Carriers, Cause, Cors, Dialect, Door, Path, Place, Refused,
    rate::{Rate, Shares},
};

/// The state of the door's handlers.
type At = State<Door<Openai>>;
/// What the store calls the door's aliases.
const DOOR: &str = "openai";

/// What the door keeps.
pub(crate) struct Openai {
    settings: Settings,
    requests: Arc<RequestIds>,
    pub(super) rate: Arc<Rate>,
    sockets: Shares,
}

impl Openai {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            requests: Arc::new(RequestIds::new()),
            rate: Arc::new(Rate::new(settings.limits.inputs_per_minute)),
            sockets: Shares::new(settings.limits.sockets_per_key),
            settings,
        }
    }
}

impl Dialect for Openai {
    const NAME: &'static str = DOOR;

    fn place(&self) -> Place {
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.allowed_origins.clone(),
            carriers: Carriers::default(),
        }
    }

    fn faults(&self) -> Vec<(String, String)> {
        self.settings.faults()
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        let paths = [
            Path::get("/models", models::list),
            Path::get("/models/{*id}", models::retrieve),
            rates::limited(Path::post("/chat/completions", chat::create), &self.rate),
        ];
        let mark = |mut path: Path<Door<Self>>| {
            let requests = Arc::clone(&self.requests);
            path.handler = path.handler.layer(map_response(move |response: Response| {
                let marked = requests.mark(response);
                async move { marked }
            }));
            path
        };
        let more = responses::paths(&self.rate).into_iter().chain(conversations::paths());
        paths.into_iter().chain(more).map(mark).collect()
    }

    fn refuse(&self, refused: &Refused) -> Response {
        let message = refused.failure.message();
        let fault = match refused.cause {
            Cause::Credential => {
                let message = "Incorrect API key provided. Send Authorization: Bearer mg_…";
                Fault::known(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
            }
            Cause::NoRoute => {
                let message = format!("Invalid URL ({} {})", refused.method, quoted(&refused.path));
                Fault::known(StatusCode::NOT_FOUND, "unknown_url", message)
            }
            Cause::NoMethod => {
                let message = format!("Not allowed to {} on {}", refused.method, quoted(&refused.path));
                Fault::known(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            }
            _ => status(refused.failure.code(), message),
        };
        self.requests.mark(fault.into_response())
    }

    fn cors(&self) -> Cors {
        Cors {
            methods: "GET, POST, DELETE",
            headers: "*, Authorization, Content-Type, X-Moongate-Session",
            exposes: "x-request-id, x-moongate-session, retry-after, x-ratelimit-limit-requests, \
                      x-ratelimit-remaining-requests, x-ratelimit-reset-requests",
        }
    }
}

fn status(code: ErrorCode, message: &str) -> Fault {
    crate::reply::Failure::new(code, message).into()
}

/// Whether the request of a completion is understood.
pub(crate) fn understands_completion(bytes: &[u8], ids: &Ids) -> bool {
    chat::understands(bytes, ids)
}

/// Whether a frame that asks for a response is understood.
pub(crate) fn understands_response(bytes: &[u8], ids: &Ids) -> bool {
    responses::understands(bytes, ids)
}
