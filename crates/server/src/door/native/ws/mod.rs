//! One WebSocket for many sessions.

mod frames;
pub(crate) mod settings;
mod socket;

use axum::{
    extract::{Request, State},
    response::Response,
    routing::get,
};
use http::{HeaderMap, header};

use crate::{
    App,
    body::parse,
    caller::Authenticated,
    credential::BEARER_SUBPROTOCOL,
    door::{native::parts::InputBody, shared::handshake},
    reply::{Answer, Failure},
    route::{Route, Shape},
};

/// The door's frames.
const SUBPROTOCOL: &str = "moongate.v1";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/ws", get(open))
            .says("A WebSocket (subprotocol `moongate.v1`) for many sessions")
            .answers(101, Shape::Empty),
    ]
}

async fn open(State(app): State<App>, caller: Authenticated, mut request: Request) -> Answer<Response> {
    check_subprotocol(request.headers())?;
    let accepted = handshake::accept(&mut request, &[SUBPROTOCOL])?;
    let peer = request.extensions_mut().remove::<crate::address::Peer>();
    let tasks = app.tasks().clone();
    let upgrade = accepted.upgrade;
    tasks.spawn(async move {
        // Held as long as the socket: it still counts as one of the open connections.
        let _peer = peer;
        let kill = app.kill().clone();
        tokio::select! {
            () = socket::run(app, caller, upgrade) => {}
            () = kill.cancelled() => {}
        }
    });
    Ok(accepted.response)
}

/// Whether a client's frame is understood, its body included.
pub(crate) fn understands(frame: &str) -> bool {
    match frames::read(frame).1 {
        Ok(frames::Ask::Input(input)) => parse::<InputBody<'_>>(&input.body).is_ok(),
        other => other.is_ok(),
    }
}

/// A client that named other subprotocols than the door's speaks something else.
fn check_subprotocol(headers: &HeaderMap) -> Answer<()> {
    let (mut named, mut others) = (false, false);
    for name in handshake::tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        named |= name == SUBPROTOCOL;
        others |= name != SUBPROTOCOL || name.starts_with(BEARER_SUBPROTOCOL);
    }
    if named || !others {
        return Ok(());
    }
    Err(Failure::invalid(format!("this WebSocket speaks the subprotocol {SUBPROTOCOL}")))
}
