//! The events of all sessions a caller may see, from now on.

use std::convert::Infallible;

use axum::{body::Body, extract::State, response::Response, routing::get};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::HeaderMap;
use moongate_core::{ActivityFollower, Happening, Record, Scope};
use moongate_protocol::Notice;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sse;
use crate::{
    App,
    caller::Authenticated,
    extract::{Query, takes_events},
    life::{Life, Sign},
    reply::{Answer, Failure},
    route::{Route, Shape},
};

/// Types one stream may ask for.
const TYPES: usize = 64;
/// Bytes after which a piece is sent.
const PIECE_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/events", get(follow))
            .says("The events of all sessions the caller may see, from now on, as a stream")
            .query::<ActivityParams>()
            .answers(200, Shape::Text("text/event-stream")),
    ]
}

/// Which events to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ActivityParams {
    /// Only events of these types, separated by commas.
    #[param(max_length = 2048)]
    types: Option<String>,
}

/// The stream missed events: list the sessions again.
#[derive(Serialize, ToSchema)]
struct Missed {
    /// How many, of all sessions.
    missed: u64,
}

struct Activity {
    life: Life,
    follower: ActivityFollower,
    types: Option<Vec<String>>,
    over: bool,
}

async fn follow(
    State(app): State<App>,
    caller: Authenticated,
    headers: HeaderMap,
    Query(params): Query<ActivityParams>,
) -> Answer<Response> {
    caller.require(Scope::SessionsRead)?;
    if !takes_events(&headers) {
        return Err(Failure::invalid("this is a stream: send Accept: text/event-stream, or no Accept"));
    }
    let types: Option<Vec<_>> =
        params.types.map(|types| types.split(',').map(|name| name.trim().to_owned()).collect());
    if types.as_ref().is_some_and(|types| types.len() > TYPES) {
        return Err(Failure::field("types", format!("at most {TYPES} types")));
    }
    let follower = app.gateway().follow_all(&caller);
    let activity = Activity { life: Life::of_sse(&app, caller), follower, types, over: false };
    Ok(sse::response(Body::from_stream(stream::unfold(activity, Activity::chunk))))
}

impl Activity {
    async fn chunk(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.over || self.life.is_over() {
            return None;
        }
        let mut piece = BytesMut::new();
        while piece.is_empty() && !self.over {
            tokio::select! {
                biased;
                happening = self.follower.next() => self.show(&happening, &mut piece),
                sign = self.life.sign() => match sign {
                    Sign::Beat => piece.extend_from_slice(b":\n\n"),
                    Sign::Draining => piece.extend_from_slice(&sse::named("notice", &Notice::Draining)),
                    Sign::Over => return None,
                },
            }
        }
        // What has happened meanwhile goes along.
        while piece.len() < PIECE_BYTES && !self.over {
            let Some(happening) = self.follower.next().now_or_never() else { break };
            self.show(&happening, &mut piece);
        }
        Some((Ok(piece.freeze()), self))
    }

    fn show(&mut self, happening: &Happening, piece: &mut BytesMut) {
        match happening {
            // Without an id: a stream of all sessions has no position to come back to.
            Happening::Event(record) if self.wants(record) => {
                piece.extend_from_slice(&sse::event(record, false));
            }
            Happening::Event(_) => {}
            Happening::Missed(missed) => {
                self.life.app().metrics().resets.add();
                piece.extend_from_slice(&sse::named("reset", &Missed { missed: *missed }));
            }
            Happening::Closed => self.over = true,
        }
    }

    fn wants(&self, record: &Record) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|name| name == sse::kind(record)))
    }
}
