//! One WebSocket for many sessions.

mod frames;
pub(crate) mod handshake;
pub(crate) mod settings;
mod socket;

use axum::{
    extract::{Request, State},
    response::Response,
    routing::get,
};

use crate::{
    App,
    caller::Authenticated,
    reply::Answer,
    route::{Route, Shape},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/ws", get(open))
            .says("A WebSocket (subprotocol `moongate.v1`) for many sessions")
            .answers(101, Shape::Empty),
    ]
}

async fn open(State(app): State<App>, caller: Authenticated, mut request: Request) -> Answer<Response> {
    let accepted = handshake::accept(&mut request)?;
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
