//! The request that becomes a chat socket.

use std::time::Duration;

use axum::extract::{Request, State};
use http::StatusCode;
use moongate_core::Scope;

use super::{
    Construct,
    asks::clean_name,
    attach::Resume,
    id::ChatId,
    reply::{Reply, Trouble},
    socket::{self, Opening},
};
use crate::{
    caller::Authenticated,
    door::shared::{
        Door,
        socket::{Bounds, upgrade},
    },
    guard::Client,
};

pub(super) async fn open(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    client: Client,
    request: Request,
) -> Reply {
    if !caller.may(Scope::SessionsWrite) {
        return Err(super::reply::lacks(Scope::SessionsWrite));
    }
    let opening = opening(&door, request.uri().query().unwrap_or_default())?;
    if door.app().gateway().draining().is_cancelled() {
        return Err(Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The gateway shuts down"));
    }
    let share = door.sockets.try_take(caller.key()).ok_or_else(|| {
        let wait = Duration::from_secs(door.settings.timing.ping_secs);
        Trouble::later("rate_limited", "This key has as many sockets as it may", wait)
    })?;
    door.heard_of(&caller, client).await;
    let limits = door.settings.limits;
    let bounds = Bounds {
        speaks: &["construct.v1"],
        message_bytes: limits.json_bytes,
        frames: limits.send_frames,
        bytes: limits.send_bytes,
        ping: Duration::from_secs(door.settings.timing.ping_secs),
    };
    let app = door.app().clone();
    let response = upgrade(&app, caller, request, bounds, move |socket| async move {
        let _share = share;
        socket::run(door, opening, socket).await;
    })?;
    Ok(response)
}

/// What the query says. A repeated parameter could mean either of its values.
fn opening(door: &Door<Construct>, query: &str) -> Reply<Opening> {
    let mut fields = Fields::default();
    for (name, value) in form(query) {
        let field = match name.as_str() {
            "session_id" => &mut fields.session_id,
            "name" => &mut fields.name,
            "agent" => &mut fields.agent,
            "last_seq" => &mut fields.last_seq,
            "epoch" => &mut fields.epoch,
            "token" => &mut fields.token,
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err(Trouble::invalid(format!("The query has {name} more than once")));
        }
    }
    let id = match fields.session_id.filter(|id| !id.is_empty()) {
        Some(id) => parse_id(&id)?,
        None => ChatId::fresh(door.app().gateway().ids()),
    };
    let last_seq = fields.last_seq.filter(|seq| !seq.is_empty()).map(|seq| seq.parse::<u64>());
    let last_seq = last_seq.transpose().map_err(|_| Trouble::invalid("last_seq is a whole number"))?;
    let resume = last_seq.map(|last_seq| Resume { last_seq, epoch: fields.epoch.unwrap_or_default() });
    Ok(Opening { id, name: fields.name.and_then(|name| clean_name(&name)), agent: fields.agent, resume })
}

#[derive(Default)]
struct Fields {
    session_id: Option<String>,
    name: Option<String>,
    agent: Option<String>,
    last_seq: Option<String>,
    epoch: Option<String>,
    token: Option<String>,
}

/// A session's id from a client.
pub(super) fn parse_id(text: &str) -> Reply<ChatId> {
    let invalid = |error: moongate_protocol::ParseError| {
        Trouble::new(StatusCode::BAD_REQUEST, "invalid_session_id", format!("Invalid session id: {error}"))
    };
    text.parse().map_err(invalid)
}

/// The pairs of a query.
pub(super) fn form(query: &str) -> impl Iterator<Item = (String, String)> {
    use crate::guard::percent::once;
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (once(&name.replace('+', " ")), once(&value.replace('+', " ")))
    })
}
