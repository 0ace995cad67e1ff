//! Following: one session's events as a stream or a page, and all sessions' as a stream.

use std::time::Duration;

use axum::{extract::State, response::Response, routing::get};
use http::{HeaderMap, HeaderName};
use moongate_core::{FrameBody, SessionHandle};
use moongate_protocol::{Envelope, ErrorCode, Position, Seq, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use super::sse;
use crate::{
    App,
    caller::Authenticated,
    extract::{Id, Query, page_size, wants_events},
    limits::{EVENT_PAGE, EVENT_PAGE_MAX, POLL_WAIT_SECS},
    reply::{Answer, Details, Failure, ok},
    route::{Route, Shape, Typed},
};

/// Header by which a browser says where its stream broke off.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/sessions/{session}/events", get(follow))
            .says("A session's events: a page, or with `Accept: text/event-stream` a stream for ever")
            .query::<FollowParams>()
            .headers(&[("Last-Event-ID", "^([0-9a-f]{1,8}\\.[0-9]{1,20})?$")])
            .answers(200, Shape::JsonOr(Typed::of::<EventsBody<'static>>(), "text/event-stream"))
            .refuses(&[ErrorCode::InvalidPosition]),
    ]
}

/// Where to follow from, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct FollowParams {
    /// The last event seen, as `<epoch>.<seq>`; from the start when absent.
    #[param(pattern = "^[0-9a-f]{1,8}\\.[0-9]{1,20}$")]
    after: Option<String>,
    /// Most events of a page.
    #[param(minimum = 1, maximum = 1000, default = 256)]
    limit: Option<usize>,
    /// Seconds a page may wait for its first event.
    #[param(minimum = 0, maximum = 60, default = 0)]
    wait: Option<u64>,
    /// Whether a stream shows pieces of unfinished items.
    #[param(default = true)]
    deltas: Option<bool>,
}

/// A page of a session's events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventsBody<'a> {
    /// Oldest first.
    #[serde(borrow)]
    #[schema(value_type = Vec<Envelope>)]
    items: Vec<&'a RawValue>,
    /// Where the next page begins.
    position: Position,
    /// Whether there are more already.
    more: bool,
}

async fn follow(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    headers: HeaderMap,
    Query(params): Query<FollowParams>,
) -> Answer<Response> {
    let after = after(&headers, &params)?;
    let limit = page_size(params.limit, EVENT_PAGE, EVENT_PAGE_MAX)?;
    if params.wait.is_some_and(|wait| wait > POLL_WAIT_SECS) {
        return Err(Failure::field("wait", format!("wait is from 0 to {POLL_WAIT_SECS}")));
    }
    let session = app.gateway().session(&caller, id).await?;
    if wants_events(&headers) {
        let select = sse::Select::All { deltas: params.deltas.unwrap_or(true) };
        return Ok(sse::reply(&app, caller, session.follow(after), select, bytes::Bytes::new()));
    }
    let after = served(&session, after)?;
    if after.seq == session.head().seq {
        news(&session, after, Duration::from_secs(params.wait.unwrap_or(0))).await?;
    }
    page(&session, after, limit).await
}

/// The position from the query, or where a browser says its stream broke off.
fn after(headers: &HeaderMap, params: &FollowParams) -> Answer<Option<Position>> {
    let text = match (&params.after, headers.get(LAST_EVENT_ID)) {
        // A browser that comes back repeats the first URL: its header is the newer one.
        (_, Some(header)) if !header.is_empty() => Some(header.to_str().unwrap_or_default()),
        (after, _) => after.as_deref(),
    };
    text.map(|text| text.parse::<Position>().map_err(|error| Failure::field("after", error.to_string())))
        .transpose()
}

/// The position to read from.
fn served(session: &SessionHandle, after: Option<Position>) -> Answer<Position> {
    let head = session.head();
    let start = Position { epoch: head.epoch, seq: Seq::ZERO };
    match after {
        None => Ok(start),
        Some(after) if after.epoch == head.epoch && after.seq <= head.seq => Ok(after),
        Some(_) => Err(Failure::new(
            ErrorCode::InvalidPosition,
            "this log does not have that position: forget this session's events and start anew",
        )
        .with(Details::Start { position: start })),
    }
}

/// Waits until there is an event after the head, or time is up.
async fn news(session: &SessionHandle, after: Position, patience: Duration) -> Answer<()> {
    if patience.is_zero() {
        return Ok(());
    }
    let until = Instant::now() + patience;
    let mut follower = session.follow(Some(after));
    let mut frames = Vec::new();
    loop {
        match timeout_at(until, follower.next(&mut frames)).await {
            Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(())) if frames.iter().any(|frame| matches!(frame.body, FrameBody::Event(_))) => {
                return Ok(());
            }
            Ok(Ok(())) => frames.clear(),
        }
    }
}

async fn page(session: &SessionHandle, after: Position, limit: usize) -> Answer {
    let mut records = session.read(after.seq, limit).await?;
    // What is on disk and not yet published is not shown: a follower would see it before it is told.
    let head = session.head();
    records.retain(|record| record.position().seq <= head.seq);
    let position = records.last().map_or(after, |last| last.position());
    let texts = records.iter().map(|record| serde_json::from_slice::<&RawValue>(record.json()));
    let items: Vec<&RawValue> = texts.collect::<Result<_, _>>().map_err(|error| {
        tracing::error!(%error, session.id = %session.id(), "an event of the log is not JSON");
        Failure::new(ErrorCode::Internal, "part of this session's log is damaged")
    })?;
    ok(&EventsBody { items, position, more: position.seq < head.seq })
}
