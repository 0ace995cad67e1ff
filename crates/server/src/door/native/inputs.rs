//! Saying something, taking it back, stopping what runs.

use std::time::Duration;

use axum::{
    extract::State,
    response::Response,
    routing::{delete, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moongate_core::{Follower, SessionHandle, StoreError};
use moongate_protocol::{
    Cancel, ErrorCode, Idempotency, IdempotencyKey, InputId, KeySpace, NewInput, SessionId, TurnId,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};
use utoipa::ToSchema;

use super::{
    outcome::Outcome,
    parts::InputBody,
    sse,
    views::{AcceptedBody, CancelledBody, TurnBody},
};
use crate::{
    App,
    body::{FileJson, OptionalJson, parse},
    caller::Authenticated,
    door::shared::{InputTurn, followed},
    extract::{Id, Ids, wants_events},
    limits::PREFER_WAIT_SECS,
    reply::{Answer, Failure, json, no_content, ok},
    route::{Route, Shape, Typed},
};

/// Header that names a submission.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header that asks for the turn's result.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Header that says that the result was waited for.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/sessions/{session}/inputs", post(submit))
            .says("Say something; with `Accept: text/event-stream` the turn follows, with `Prefer: wait` its result")
            .headers(&[
                ("Idempotency-Key", "^[\\x21-\\x7e]{1,255}$"),
                // `wait=SECONDS`; other preferences are for others, and ignored.
                ("Prefer", "^.*$"),
            ])
            .json::<InputBody<'static>>()
            .answers(202, Shape::Json(Typed::of::<AcceptedBody>()))
            .answers(200, Shape::JsonOr(Typed::of::<TurnBody>(), "text/event-stream"))
            .refuses(&[
                ErrorCode::Busy,
                ErrorCode::QueueFull,
                ErrorCode::IdempotencyMismatch,
                ErrorCode::Unprocessable,
            ])
            .writes(),
        Route::delete("/sessions/{session}/inputs/{input}", delete(withdraw))
            .says("Take a waiting input back")
            .answers(204, Shape::Empty)
            .writes(),
        Route::post("/sessions/{session}/cancel", post(cancel))
            .says("Stop the running turn; answered when that is on disk")
            .json::<CancelTurn>()
            .ok::<CancelledBody>(200)
            .writes(),
    ]
}

/// How an answer to an input is wanted.
enum Wish {
    Receipt,
    Stream,
    Result(Duration),
}

async fn submit(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    headers: HeaderMap,
    FileJson(bytes): FileJson,
) -> Answer {
    let wish = wish(&headers)?;
    let session = app.gateway().session(&caller, id).await?;
    let idempotency = idempotency(&headers, &bytes)?;
    let body: InputBody<'_> = parse(&bytes)?;
    let mut input = body.into_input(&session, &**app.gateway().store(), bytes.len()).await?;
    input.idempotency = idempotency;
    drop(bytes);
    match wish {
        Wish::Receipt => {
            let accepted = session.submit(input).await?;
            Ok(json(StatusCode::ACCEPTED, &AcceptedBody::from(&accepted)))
        }
        Wish::Stream => stream(app, caller, session, input).await,
        Wish::Result(patience) => result(&session, input, patience).await,
    }
}

async fn stream(app: App, caller: Authenticated, session: SessionHandle, input: NewInput) -> Answer {
    let (accepted, follower) = followed(&session, input, None).await?;
    // The turn's task runs first: what it has to say already leaves with the reply's head.
    yield_now().await;
    let select = sse::Select::Turn(InputTurn::of(accepted.input));
    let first = sse::named("accepted", &AcceptedBody::from(&accepted));
    Ok(sse::reply(&app, caller, follower, select, first))
}

async fn result(session: &SessionHandle, input: NewInput, patience: Duration) -> Answer {
    let until = Instant::now() + patience;
    let (accepted, follower) = followed(session, input, None).await?;
    let outcome = match timeout_at(until, outcome(follower, accepted.input)).await {
        Ok(outcome) => outcome?,
        // The turn goes on.
        Err(_) => return Ok(json(StatusCode::ACCEPTED, &AcceptedBody::from(&accepted))),
    };
    let mut response = json(StatusCode::OK, &outcome.body());
    let applied = HeaderValue::try_from(format!("wait={}", patience.as_secs()));
    if let Ok(applied) = applied {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

async fn outcome(mut follower: Follower, input: InputId) -> Result<Outcome, StoreError> {
    let mut outcome = Outcome::of(input);
    let mut frames = Vec::new();
    loop {
        follower.next(&mut frames).await?;
        for frame in frames.drain(..) {
            if outcome.take(&frame) {
                return Ok(outcome);
            }
        }
    }
}

fn wish(headers: &HeaderMap) -> Answer<Wish> {
    if wants_events(headers) {
        return Ok(Wish::Stream);
    }
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let wait = preferences.flat_map(|value| value.split(',')).find_map(|p| p.trim().strip_prefix("wait="));
    let Some(wait) = wait else { return Ok(Wish::Receipt) };
    match wait.trim().parse::<u64>() {
        Ok(seconds) => Ok(Wish::Result(Duration::from_secs(seconds.min(PREFER_WAIT_SECS)))),
        Err(_) => Err(Failure::invalid("Prefer: wait has whole seconds")),
    }
}

fn idempotency(headers: &HeaderMap, body: &[u8]) -> Answer<Option<Idempotency>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key: IdempotencyKey = value.to_str().unwrap_or_default().parse()?;
    Ok(Some(Idempotency {
        key,
        body_hash: Sha256::digest(body).into(),
        space: KeySpace::Session,
        instead_of: None,
    }))
}

async fn withdraw(
    State(app): State<App>,
    caller: Authenticated,
    Ids(id, input): Ids<SessionId, InputId>,
) -> Answer<Response> {
    app.gateway().session(&caller, id).await?.withdraw(input).await?;
    Ok(no_content())
}

/// Which turn to stop.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelTurn {
    /// Only this turn; any running turn when absent.
    turn: Option<TurnId>,
    /// Also take all waiting inputs back.
    #[serde(default)]
    clear_queue: bool,
}

async fn cancel(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    OptionalJson(body): OptionalJson<CancelTurn>,
) -> Answer {
    let session = app.gateway().session(&caller, id).await?;
    let cancelled = session.cancel(Cancel { turn: body.turn, clear_queue: body.clear_queue }).await?;
    ok(&CancelledBody::from(cancelled))
}
