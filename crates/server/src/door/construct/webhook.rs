//! The webhook: one turn for one request, however often it is sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    response::Response,
};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, StatusCode};
use moongate_core::{Follower, FrameBody, Gate, Scope, SessionHandle, StoreError};
use moongate_protocol::{
    ErrorCode, Event, Idempotency, IdempotencyKey, InputId, NewInput, Part, Position, Seq, SessionId, TurnId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Construct,
    fold::{Counts, SessionFold},
    frames::{Done, Problem, Word},
    handshake::parse_id,
    id::ChatId,
    lock,
    reply::{More, Reply, Trouble, ok},
    sessions::require,
};
use crate::{caller::Authenticated, door::shared::Door, guard::Client};

/// Header that carries the operator's secret.
const SECRET: HeaderName = HeaderName::from_static("x-webhook-secret");
/// Header that names a request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");
/// Header that names a session.
const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Times one key may be tried again after its turn failed.
const TRIES: u32 = 100;
/// What sessions that a request's key names begin with.
pub(super) const KEYED: &str = "webhook-";

/// What a caller says.
#[derive(Deserialize)]
struct Body {
    message: String,
    agent: Option<String>,
}

#[derive(Serialize)]
struct Answered {
    response: String,
    model: String,
    session_id: String,
    turn_id: TurnId,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost_usd: Option<f64>,
    #[serde(flatten)]
    again: Option<Again>,
}

/// Said to whoever asks for the same once more.
#[derive(Serialize)]
struct Again {
    status: &'static str,
    idempotent: bool,
    message: &'static str,
}

/// Requests that are being answered, by session and key: who comes second is a repetition, however close.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<(SessionId, String), usize>>>);

/// A request among those, until it is dropped.
struct Flight {
    all: InFlight,
    it: (SessionId, String),
    /// Somebody asked the same before and has no answer yet.
    second: bool,
}

impl InFlight {
    fn enter(&self, session: SessionId, key: &str) -> Flight {
        let it = (session, key.to_owned());
        let mut flights = lock(&self.0);
        let count = flights.entry(it.clone()).or_default();
        *count += 1;
        Flight { all: self.clone(), it, second: *count > 1 }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = lock(&self.all.0);
        if let Some(count) = flights.get_mut(&self.it) {
            *count -= 1;
            if *count == 0 {
                flights.remove(&self.it);
            }
        }
    }
}

/// How an input's turn ended.
enum Outcome {
    Done(TurnId, Box<Done>),
    Failed(TurnId, Box<Problem>),
    /// It was taken back before it ran.
    Withdrawn,
}

/// A request whose form is right.
struct Asked {
    body: Body,
    id: ChatId,
    key: Option<String>,
    hash: [u8; 32],
}

pub(super) async fn receive(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    client: Client,
    request: Request,
) -> Reply<Response> {
    require(&caller, Scope::SessionsWrite)?;
    if let Err(wait) = door.inputs.take(caller.key()) {
        return Err(Trouble::later("rate_limited", "Too many requests; try again later", wait));
    }
    door.heard_of(&caller, client).await;
    let asked = read(&door, request).await?;
    let asked = Asked { id: door.canonical(&caller, asked.id).await?, ..asked };
    let agent = door.agent(&caller, asked.body.agent.as_deref());
    let agent = agent.map_err(|why| Trouble::invalid(format!("agent: {}", why.0)))?;
    let handle = match door.find(&caller, &asked.id).await? {
        Some(handle) => handle,
        None => door.begin(&caller, &asked.id, &agent, None).await?,
    };
    let flight = asked.key.as_ref().map(|key| door.in_flight.enter(handle.id(), key));
    let second = flight.as_ref().is_some_and(|flight| flight.second);
    let until = Instant::now() + Duration::from_secs(door.settings.timing.webhook_secs);
    let first = match &asked.key {
        Some(key) => door.attempt(&handle, key).await?,
        None => 0,
    };
    for attempt in first..first + TRIES {
        let gate = door.turns.gate(caller.key());
        let (input, before, follower) = submit(&door, &handle, (&asked, attempt), gate).await?;
        let again = before || second;
        let outcome = timeout_at(until, outcome(&door, &handle, follower, input)).await;
        let Ok(outcome) = outcome else { return Err(timed_out(&handle, &asked.id).await) };
        match outcome? {
            Outcome::Done(turn_id, done) => {
                let message = "Request already processed for this idempotency key";
                let again = again.then_some(Again { status: "duplicate", idempotent: true, message });
                return ok(&Answered {
                    response: done.full_response,
                    model: done.bill.model,
                    session_id: asked.id.to_string(),
                    turn_id,
                    input_tokens: done.bill.input_tokens,
                    output_tokens: done.bill.output_tokens,
                    cost_usd: done.bill.cost_usd,
                    again,
                });
            }
            // A failure from before: the key is free again, and this request runs.
            Outcome::Failed(..) | Outcome::Withdrawn if before => {}
            Outcome::Failed(turn, problem) => return Err(failed(turn, &problem)),
            Outcome::Withdrawn => return Err(busy()),
        }
    }
    Err(busy())
}

/// Checks the secret, the body and the names, in this order.
async fn read(door: &Door<Construct>, request: Request) -> Reply<Asked> {
    let headers = request.headers().clone();
    let secret = &door.settings.webhook_secret;
    let given = headers.get(SECRET).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if !secret.is_empty() && !secret.is(given) {
        let message = "Unauthorized — invalid or missing X-Webhook-Secret header";
        return Err(Trouble::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    }
    let wrong = || {
        let message = r#"Invalid JSON body. Expected: {"message": "..."}"#;
        Trouble::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    };
    let limit = door.settings.limits.json_bytes;
    let bytes = crate::body::read(request.into_body(), limit, door.app()).await?;
    let body: Body = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if body.message.trim().is_empty() {
        return Err(wrong());
    }
    let key = named(&headers, &IDEMPOTENCY_KEY)?;
    let wellformed = |key: &String| key.len() <= 255 && key.bytes().all(|b| (0x20..0x7f).contains(&b));
    if key.as_ref().is_some_and(|key| !wellformed(key)) {
        return Err(Trouble::invalid("X-Idempotency-Key has 1 to 255 printable characters"));
    }
    let id = match (named(&headers, &SESSION_ID)?, &key) {
        (Some(id), _) => parse_id(&id)?,
        // The key alone finds the session again: no other key of anybody has it.
        (None, Some(key)) => parse_id(&format!("{KEYED}{}", &hex(key)[..32]))?,
        (None, None) => ChatId::fresh(door.app().gateway().ids()),
    };
    Ok(Asked { body, id, key, hash: Sha256::digest(&bytes).into() })
}

fn named(headers: &HeaderMap, name: &HeaderName) -> Reply<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Trouble::invalid(format!("{name} is not text")))?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn hex(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

/// How a client's key is called in the log the time it is tried so often.
fn named_attempt(key: &str, attempt: u32) -> Option<IdempotencyKey> {
    format!("hook.{}.{attempt}", hex(key)).parse().ok()
}

impl Door<Construct> {
    /// The first time a key was tried that still counts; where none does, the first that has not been used.
    async fn attempt(&self, handle: &SessionHandle, key: &str) -> Reply<u32> {
        let (now, kept) = (self.now(), Duration::from_secs(self.settings.timing.idempotency_secs));
        let store = self.app().gateway().store();
        // Of an older session the first ones may be forgotten, and later ones not.
        let is_young = now.since(handle.view().await?.created_at) <= kept;
        let mut free = 0;
        for attempt in 0..TRIES {
            let Some(name) = named_attempt(key, attempt) else { break };
            match store.idempotency(handle.id(), &name).await? {
                Some(row) if now.since(row.at) < kept => return Ok(attempt),
                Some(_) => free = attempt + 1,
                None if is_young || free > 0 => break,
                None => {}
            }
        }
        Ok(free)
    }
}

/// Says it, or finds what was said before under the same key. Lets the follower in first.
async fn submit(
    door: &Door<Construct>,
    handle: &SessionHandle,
    (asked, attempt): (&Asked, u32),
    gate: Gate,
) -> Reply<(InputId, bool, Follower)> {
    let key = asked.key.as_ref().and_then(|key| named_attempt(key, attempt));
    let idempotency = key.map(|key| Idempotency { key, body_hash: asked.hash });
    let keyed = idempotency.is_some();
    let input = NewInput {
        parts: vec![Part::text(asked.body.message.clone())],
        idempotency,
        overrides: door.overrides(None),
        queue_limit: Some(door.settings.queue.depth),
        ..NewInput::default()
    };
    let follower = handle.follow_live();
    let before = follower.head();
    let accepted = handle.submit_behind(input, Some(gate)).await.map_err(|refusal| match refusal.code {
        ErrorCode::IdempotencyMismatch => Trouble::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_mismatch",
            "This idempotency key was used for another body",
        ),
        ErrorCode::QueueFull | ErrorCode::Busy => busy(),
        ErrorCode::StoreReadOnly => {
            Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "storage_error", "The store takes no writes")
        }
        _ => refusal.into(),
    })?;
    let at = accepted.position;
    let again = keyed && at.epoch == before.epoch && at.seq <= before.seq;
    if !again {
        return Ok((accepted.input, false, follower));
    }
    let after = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
    Ok((accepted.input, true, handle.follow(Some(after))))
}

/// Waits for the end of an input's turn.
async fn outcome(
    door: &Door<Construct>,
    handle: &SessionHandle,
    mut follower: Follower,
    input: InputId,
) -> Result<Outcome, StoreError> {
    let mut fold = SessionFold::new(door.app().gateway().catalog().models.clone(), Counts::default());
    let (mut frames, mut told, mut turn) = (Vec::new(), Vec::new(), None);
    let mut waits = door.settings.queue.wait().map(|wait| Instant::now() + wait);
    loop {
        let patience = waits.filter(|_| turn.is_none());
        tokio::select! {
            news = follower.next(&mut frames) => news?,
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                waits = None;
                // One that began in this moment runs.
                drop(handle.withdraw(input).await);
                continue;
            }
        }
        for frame in frames.drain(..) {
            fold.take(&frame.body, &mut told);
            told.clear();
            if fold.turn().is_some_and(|running| running.input == Some(input)) {
                turn = fold.turn().map(|running| running.id);
            }
            if let Some(ending) = fold.ending().filter(|ending| Some(ending.turn) == turn) {
                door.saw(handle.id(), ending.seq);
                let words = ending.told.iter().map(|told| &told.word);
                for word in words {
                    match word {
                        Word::Done(done) => return Ok(Outcome::Done(ending.turn, done.clone())),
                        Word::Error(problem) => {
                            return Ok(Outcome::Failed(ending.turn, problem.clone()));
                        }
                        _ => {}
                    }
                }
            }
            if is_withdrawn(&frame.body, input) {
                return Ok(Outcome::Withdrawn);
            }
        }
    }
}

fn is_withdrawn(body: &FrameBody, input: InputId) -> bool {
    let FrameBody::Event(record) = body else { return false };
    record.envelope().is_ok_and(|envelope| match &envelope.event {
        Event::InputWithdrawn(gone) => gone.input == input,
        Event::SessionDeleted(_) => true,
        _ => false,
    })
}

/// The turn goes on; a request with the same key gets its answer.
async fn timed_out(handle: &SessionHandle, id: &ChatId) -> Trouble {
    let turn = handle.view().await.ok().and_then(|view| view.turn);
    let trouble = Trouble::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timed out");
    trouble.with(More {
        session_id: Some(id.to_string()),
        turn_id: turn.map(|turn| turn.to_string()),
        ..More::default()
    })
}

fn failed(turn: TurnId, problem: &Problem) -> Trouble {
    let code = problem.code;
    let trouble = Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, code, "LLM request failed");
    trouble.with(More { reason: problem.reason, turn_id: Some(turn.to_string()), ..More::default() })
}

fn busy() -> Trouble {
    let message = "The session has as many requests as it may";
    Trouble::later("session_busy", message, Duration::from_secs(1))
}
