//! `GET /api/chat/stream`: the request that becomes a socket, and the tickets that let browsers in.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use moongate_core::Refusal;
use moongate_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::{
    Owner, Oxios, User,
    fault::{Reply, refusal},
    frames::Client,
    socket,
    tickets::GOOD_FOR,
};
use crate::{
    caller::Authenticated,
    door::shared::{Door, socket::upgrade},
    reply::{Failure, json},
};

/// Sockets one principal may have.
const SOCKETS: usize = 64;

/// The principal's open sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<HashMap<Owner, usize>>);

/// One of a principal's sockets, given back when dropped.
pub(super) struct Place {
    door: Door<Oxios>,
    owner: Owner,
}

impl Place {
    fn take(door: &Door<Oxios>, owner: Owner) -> Option<Self> {
        let mut open = door.sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry(owner.clone()).or_default();
        if *own >= SOCKETS {
            return None;
        }
        *own += 1;
        Some(Self { door: door.clone(), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.door.sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.owner) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.owner);
            }
        }
    }
}

/// What the socket's URL says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Options {
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    mirror: Option<String>,
}

impl Options {
    /// The kind of client, where the URL fixes it.
    pub(super) fn client(&self) -> Option<Client> {
        self.client.as_deref().and_then(Client::parse)
    }

    /// Whether turns of others are shown too.
    pub(super) fn mirrors(&self) -> bool {
        self.mirror.as_deref() == Some("1")
    }
}

/// A ticket, and how long it is good.
#[derive(Serialize)]
struct Issued {
    ticket: String,
    expires_in: u64,
}

/// `POST /api/chat/ticket`.
pub(super) async fn ticket(State(door): State<Door<Oxios>>, User(caller): User, headers: HeaderMap) -> Reply {
    let origin = origin(&headers);
    let random = door.app().gateway().ids().random();
    let ticket = door.tickets.issue(&caller, origin, random, tokio::time::Instant::now());
    Ok(json(StatusCode::OK, &Issued { ticket, expires_in: GOOD_FOR.as_secs() }))
}

/// The page a request came from.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok())
}

/// `GET /api/chat/stream`.
pub(super) async fn open(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    request: Request,
) -> Reply<Response> {
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(refusal(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket"));
    }
    caller.require(moongate_core::Scope::SessionsRead)?;
    let options = axum::extract::Query::<Options>::try_from_uri(request.uri());
    let options = options.map_err(|_| Failure::invalid("the query is not acceptable"))?.0;
    let owner = owner(&caller);
    let Some(place) = Place::take(&door, owner) else {
        let wait = std::time::Duration::from_secs(1);
        return Err(Refusal::later(ErrorCode::RateLimited, "too many sockets", wait).into());
    };
    let app = door.app().clone();
    let live = move |socket| async move {
        let _place = place;
        socket::run(door, options, socket).await;
    };
    Ok(upgrade(&app, caller, request, socket::BOUNDS, live)?)
}

/// Whose sockets, frames and events.
pub(super) fn owner(caller: &Authenticated) -> Owner {
    (caller.tenant().clone(), caller.principal().clone())
}
