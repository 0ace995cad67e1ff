//! The webhook: one turn for one request, however often it is sent.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::Response,
};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, StatusCode};
use moongate_core::{
    Caller, Follower, FrameBody, Gate, IdempotencyRow, KeyPlace, Refusal, Scope, SessionHandle, StoreError,
    SubmissionKey,
};
use moongate_protocol::{
    AgentName, ErrorCode, Event, Idempotency, IdempotencyKey, InputId, KeySpace, NewInput, Part, Position,
    Seq, SessionId, TurnId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Construct,
    chats::id_of,
    fold::{Counts, SessionFold},
    frames::{Done, Problem, Word},
    handshake::parse_id,
    id::ChatId,
    reply::{More, Reply, Trouble, ok},
    sessions::require,
};
use crate::{
    caller::Authenticated,
    door::shared::{Dialect as _, Door},
    guard::Client,
};

/// Header that carries the operator's secret.
const SECRET: HeaderName = HeaderName::from_static("x-webhook-secret");
/// Header that names a request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");
/// Header that names a session.
const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Times a request is made anew under its key while others do so too.
const TRIES: u32 = 8;
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
    let until = Instant::now() + Duration::from_secs(door.settings.timing.webhook_secs);
    let mut instead_of = None;
    for _ in 0..TRIES {
        let known = door.known(&caller, &asked).await?;
        instead_of = known.as_ref().filter(|row| door.is_old(row)).map(|row| row.input).or(instead_of);
        let place = door.place(&caller, &asked, &agent, known.map(|row| row.session)).await?;
        let gate = door.turns.gate(caller.key());
        let Some((input, before, follower)) =
            submit(&door, &place.handle, (&asked, instead_of), gate).await?
        else {
            continue;
        };
        let mut turn = None;
        let outcome = timeout_at(until, outcome(&door, &place.handle, follower, (input, &mut turn))).await;
        let Ok(outcome) = outcome else { return Err(timed_out(&place, turn)) };
        match outcome? {
            Outcome::Done(turn_id, done) => return ok(&answered(&place, turn_id, *done, before)),
            // A failure from before: the key is free again, and this request runs.
            Outcome::Failed(..) | Outcome::Withdrawn if before => instead_of = Some(input),
            Outcome::Failed(turn, problem) => return Err(failed(turn, &problem)),
            Outcome::Withdrawn => return Err(busy()),
        }
    }
    Err(busy())
}

fn answered(place: &Place, turn_id: TurnId, done: Done, again: bool) -> Answered {
    let message = "Request already processed for this idempotency key";
    Answered {
        response: done.full_response,
        model: done.bill.model,
        session_id: place.id.to_string(),
        turn_id,
        input_tokens: done.bill.input_tokens,
        output_tokens: done.bill.output_tokens,
        cost_usd: done.bill.cost_usd,
        again: again.then_some(Again { status: "duplicate", idempotent: true, message }),
    }
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

/// How a client's key is called in the log.
fn log_name(key: &str) -> Option<IdempotencyKey> {
    format!("hook.{}", hex(key)).parse().ok()
}

/// A session, and what the client calls it.
struct Place {
    handle: SessionHandle,
    id: ChatId,
}

impl Door<Construct> {
    /// What was asked before under the request's key, by whoever asks, in whichever session.
    async fn known(&self, caller: &Caller, asked: &Asked) -> Reply<Option<IdempotencyRow>> {
        let Some(key) = asked.key.as_deref().and_then(log_name) else { return Ok(None) };
        let place = KeyPlace::Door(caller.tenant().clone(), Construct::NAME.into());
        let name = SubmissionKey { place, by: caller.principal().clone(), key };
        match self.app().gateway().store().idempotency(&name).await? {
            Some(row) if row.body_hash != asked.hash && !self.is_old(&row) => Err(mismatch()),
            known => Ok(known),
        }
    }

    /// Whether a key that was used then may be used for something else.
    fn is_old(&self, row: &IdempotencyRow) -> bool {
        self.now().since(row.at) >= Duration::from_secs(self.settings.timing.idempotency_secs)
    }

    /// Where a request is answered: where it was asked before, or in the session it names.
    async fn place(
        &self,
        caller: &Caller,
        asked: &Asked,
        agent: &AgentName,
        before: Option<SessionId>,
    ) -> Reply<Place> {
        if let Some(session) = before {
            let handle = self.app().gateway().session(caller, session).await?;
            let id = handle.view().await?.alias.and_then(|alias| id_of(caller, &alias));
            return Ok(Place { handle, id: id.unwrap_or_else(|| asked.id.clone()) });
        }
        let handle = match self.find(caller, &asked.id).await? {
            Some(handle) => handle,
            None => self.begin(caller, &asked.id, agent, None).await?,
        };
        Ok(Place { handle, id: asked.id.clone() })
    }
}

/// Says it, or finds what was said before under the same key. Lets the follower in first. `None` when it was said in
/// another session in this moment.
async fn submit(
    door: &Door<Construct>,
    handle: &SessionHandle,
    (asked, instead_of): (&Asked, Option<InputId>),
    gate: Gate,
) -> Reply<Option<(InputId, bool, Follower)>> {
    let key = asked.key.as_deref().and_then(log_name);
    let named = |key| Idempotency { key, body_hash: asked.hash, space: KeySpace::Door, instead_of };
    let idempotency = key.map(named);
    let input = NewInput {
        parts: vec![Part::text(asked.body.message.clone())],
        idempotency,
        overrides: door.overrides(None),
        queue_limit: Some(door.settings.queue.depth),
        ..NewInput::default()
    };
    let follower = handle.follow_live();
    let accepted = match handle.submit_behind(input, Some(gate)).await {
        Ok(accepted) => accepted,
        Err(refusal) if asked.key.is_some() && refusal.code == ErrorCode::Conflict => return Ok(None),
        Err(refusal) => return Err(refused(refusal)),
    };
    if !accepted.again {
        return Ok(Some((accepted.input, false, follower)));
    }
    let at = accepted.position;
    let after = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
    Ok(Some((accepted.input, true, handle.follow(Some(after)))))
}

fn refused(refusal: Refusal) -> Trouble {
    match refusal.code {
        ErrorCode::IdempotencyMismatch => mismatch(),
        ErrorCode::QueueFull | ErrorCode::Busy => busy(),
        ErrorCode::StoreReadOnly => {
            Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "storage_error", "The store takes no writes")
        }
        _ => refusal.into(),
    }
}

fn mismatch() -> Trouble {
    let message = "This idempotency key was used for another body";
    Trouble::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", message)
}

/// Waits for the end of an input's turn, which is known to `turn` as soon as it begins.
async fn outcome(
    door: &Door<Construct>,
    handle: &SessionHandle,
    mut follower: Follower,
    (input, turn): (InputId, &mut Option<TurnId>),
) -> Result<Outcome, StoreError> {
    let mut fold = SessionFold::new(door.app().gateway().catalog().models.clone(), Counts::default());
    let (mut frames, mut told) = (Vec::new(), Vec::new());
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
                *turn = fold.turn().map(|running| running.id);
            }
            if let Some(ending) = fold.ending().filter(|ending| Some(ending.turn) == *turn) {
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
fn timed_out(place: &Place, turn: Option<TurnId>) -> Trouble {
    let trouble = Trouble::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timed out");
    trouble.with(More {
        session_id: Some(place.id.to_string()),
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
