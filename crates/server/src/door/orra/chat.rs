//! Something to say, checked field by field and submitted once.

use std::{collections::BTreeMap, sync::Arc};

use moongate_core::{Accepted, Follower, Gate, KeyPlace, Scope, SessionHandle, SubmissionKey};
use moongate_protocol::{
    AgentName, ErrorCode, Idempotency, IdempotencyKey, InputId, KeySpace, ModelName, NewInput, Overrides,
    Part, Position, Seq, TurnId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    Orra,
    fault::{Code, Fault, Reply},
    frames::What,
    name::{Meaning, Name},
    translate::{Fold, Shown, Tale},
};
use crate::{
    caller::Authenticated,
    door::shared::{Dialect as _, Door, turn::followed},
};

/// Most bytes of a client's metadata, as JSON.
pub(super) const METADATA_BYTES: usize = 16 << 10;
/// Under which label the client's metadata is kept, as JSON.
pub(super) const LABEL: &str = "orra";
/// How often something is said anew under its idempotency key while others do so too.
const ATTEMPTS: u32 = 8;
/// Longest name of a submission, in bytes.
const KEY_BYTES: usize = 255;

/// A client's name for a submission: printable characters.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Key(String);

impl TryFrom<String> for Key {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        let is_key =
            (1..=KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if is_key { Ok(Self(text)) } else { Err(Code::InvalidRequest.into()) }
    }
}

/// What a client wants to say, as it came.
#[derive(Debug, Default, Serialize)]
pub(super) struct Wish {
    pub(super) message: String,
    pub(super) namespace: Option<String>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    #[serde(skip)]
    pub(super) key: Option<Key>,
}

/// What will be said, and where.
pub(super) struct Ready {
    pub(super) name: Name,
    meaning: Meaning,
    agent: AgentName,
    input: NewInput,
    /// The client's name for it, and the hash of what it says.
    key: Option<(Key, [u8; 32])>,
}

/// What was said.
pub(super) struct Begun {
    pub(super) session: SessionHandle,
    pub(super) accepted: Accepted,
    pub(super) follower: Follower,
}

/// Checks a wish, in the contract's order.
pub(super) fn prepare(door: &Door<Orra>, caller: &Authenticated, mut wish: Wish) -> Reply<Ready> {
    if wish.message.trim().is_empty() {
        return Err(Code::EmptyMessage.into());
    }
    let body = serde_json::to_vec(&wish).map_err(|_| Fault::from(Code::InternalError))?;
    let key = wish.key.take().map(|key| (key, Sha256::digest(body).into()));
    let mut metadata = wish.metadata.take().unwrap_or_default();
    metadata.retain(|key, _| !key.starts_with('_'));
    let label = label(&metadata)?;
    let name = match wish.namespace.as_deref() {
        None | Some("") => fresh(door, caller, key.as_ref().map(|(key, _)| key)),
        Some(text) => Name::parse(text)?,
    };
    let meaning = Meaning::of(caller, &name)?;
    let named = match metadata.get("agent") {
        None | Some(Value::Null) => None,
        Some(Value::String(agent)) => Some(agent.as_str()),
        Some(_) => return Err(Code::InvalidRequest.into()),
    };
    let agent = agent(door, caller, wish.agent.as_deref().or(named))?;
    let model = model(door, caller, wish.model.as_deref())?;
    door.rate.take(caller.key()).map_err(|wait| Fault::later(Code::RateLimited, wait))?;
    let overrides = Overrides {
        agent: Some(agent.clone()),
        model,
        approval_secs: Some(door.settings.approval_secs),
        ..Overrides::default()
    };
    let input = NewInput {
        parts: vec![Part::text(&wish.message)],
        overrides,
        metadata: label.map(|label| (LABEL.to_owned(), label)).into_iter().collect::<BTreeMap<_, _>>(),
        queue_limit: Some(door.settings.queue.depth),
        ..NewInput::default()
    };
    Ok(Ready { name, meaning, agent, input, key })
}

/// The client's metadata as it is kept.
///
/// # Errors
/// `payload_too_large`.
pub(super) fn label(metadata: &Map<String, Value>) -> Reply<Option<String>> {
    if metadata.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(metadata).map_err(|_| Fault::from(Code::InternalError))?;
    // The label's own name counts among what a session may have.
    if text.len() + LABEL.len() > METADATA_BYTES {
        return Err(Code::PayloadTooLarge.into());
    }
    Ok(Some(text))
}

/// A name for a client that chose none. A submission that is made again under its key finds its session again.
fn fresh(door: &Door<Orra>, caller: &Authenticated, key: Option<&Key>) -> Name {
    let random = match key {
        None => door.app().gateway().ids().random::<16>(),
        Some(Key(key)) => {
            let place = format!("orra/{}/{}", caller.tenant(), caller.principal());
            let hash: [u8; 32] = Sha256::digest(format!("{place}/{key}")).into();
            let mut seed = [0; 16];
            seed.copy_from_slice(&hash[..16]);
            seed
        }
    };
    Name::fresh(caller, random)
}

/// Who answers.
fn agent(door: &Door<Orra>, caller: &Authenticated, named: Option<&str>) -> Reply<AgentName> {
    let catalog = door.app().gateway().catalog();
    let of =
        |name: &str| catalog.agents.keys().find(|agent| agent.as_str().eq_ignore_ascii_case(name)).cloned();
    let found = match named.filter(|name| !name.is_empty()) {
        Some(name) => of(name),
        // The setting's own default means the gateway's, where nobody has that name.
        None if door.settings.agent == "default" => {
            of("default").or_else(|| Some(catalog.default_agent.clone()))
        }
        None => of(&door.settings.agent),
    };
    found.filter(|agent| caller.may_use(agent)).ok_or(Code::AgentNotFound.into())
}

/// The model, where the client names one.
fn model(door: &Door<Orra>, caller: &Authenticated, named: Option<&str>) -> Reply<Option<ModelName>> {
    let Some(named) = named.filter(|name| !name.is_empty()) else { return Ok(None) };
    let model: ModelName = named.parse().map_err(|_| Fault::from(Code::ModelNotAllowed))?;
    let catalog = door.app().gateway().catalog();
    let is_allowed = catalog.models.get(&model).is_some() && catalog.may_name(caller, &model);
    if is_allowed { Ok(Some(model)) } else { Err(Code::ModelNotAllowed.into()) }
}

impl Ready {
    /// Says it, once for each idempotency key: what failed may be said again. Its turn begins behind the gate.
    pub(super) async fn begin(&self, door: &Door<Orra>, caller: &Authenticated, gate: &Gate) -> Reply<Begun> {
        let mut instead_of = None;
        for _ in 0..ATTEMPTS {
            let named =
                self.key.as_ref().map(|(key, body_hash)| key.named(*body_hash, instead_of)).transpose()?;
            let session = match said_before(door, caller, named.as_ref()).await? {
                Some(session) => session,
                None => self.meaning.find_or_make(door.app(), caller, &self.agent).await?,
            };
            let input = NewInput { idempotency: named, ..self.input.clone() };
            let (accepted, follower) = match followed(&session, input, Some(Arc::clone(gate))).await {
                // The same was said in another session in this moment: now it is found there.
                Err(refusal) if refusal.code == ErrorCode::Conflict && self.key.is_some() => continue,
                said => said?,
            };
            let at = accepted.position;
            if !accepted.again {
                return Ok(Begun { session, accepted, follower });
            }
            let before = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
            let ended = ended(session.follow(Some(before)), &accepted).await?;
            let failed = ended.is_some_and(|shown| !matches!(shown.tale, Tale::Frame(What::Response(_))));
            if !failed {
                return Ok(Begun { session, accepted, follower });
            }
            instead_of = Some(accepted.input);
        }
        Err(Code::RateLimited.into())
    }
}

impl Key {
    /// As the store knows it: one space for each principal at this door.
    fn named(&self, body_hash: [u8; 32], instead_of: Option<InputId>) -> Reply<Idempotency> {
        let name = data_encoding::HEXLOWER.encode(&Sha256::digest(&self.0));
        let key: IdempotencyKey = name.parse().map_err(|_| Fault::from(Code::InternalError))?;
        Ok(Idempotency { key, body_hash, space: KeySpace::Door, instead_of })
    }
}

/// The session in which it was said before, whatever the client calls that.
async fn said_before(
    door: &Door<Orra>,
    caller: &Authenticated,
    named: Option<&Idempotency>,
) -> Reply<Option<SessionHandle>> {
    let Some(named) = named else { return Ok(None) };
    let place = KeyPlace::Door(caller.tenant().clone(), Orra::NAME.into());
    let name = SubmissionKey { place, by: caller.principal().clone(), key: named.key.clone() };
    let gateway = door.app().gateway();
    let Some(row) = gateway.store().idempotency(&name).await? else { return Ok(None) };
    if row.body_hash != named.body_hash {
        return Err(Code::IdempotencyMismatch.into());
    }
    match gateway.session_to(caller, row.session, Scope::SessionsWrite).await {
        Ok(session) => Ok(Some(session)),
        // Another key of the principal said it where this one may not go.
        Err(refusal) if refusal.code == ErrorCode::NotFound => Err(Code::IdempotencyMismatch.into()),
        Err(refusal) => Err(refusal.into()),
    }
}

/// How an input ended, if it did by now.
async fn ended(mut follower: Follower, accepted: &Accepted) -> Reply<Option<Shown>> {
    let (mut fold, mut frames, mut shown) = (Fold::default(), Vec::new(), Vec::new());
    while follower.ready(&mut frames).await? {
        for frame in frames.drain(..) {
            fold.take(&frame, &mut shown);
        }
        let last = |shown: &Shown| shown.is_last() && shown.inputs.contains(&accepted.input);
        if let Some(at) = shown.iter().position(last) {
            return Ok(Some(shown.swap_remove(at)));
        }
        shown.clear();
    }
    Ok(None)
}

/// Waits for the end of an input. Its turn is known to `turn` as soon as it begins.
pub(super) async fn until_ended(
    follower: &mut Follower,
    accepted: &Accepted,
    turn: &mut Option<TurnId>,
) -> Reply<Shown> {
    let (mut fold, mut frames, mut shown) = (Fold::default(), Vec::new(), Vec::new());
    loop {
        follower.next(&mut frames).await?;
        for frame in frames.drain(..) {
            fold.take(&frame, &mut shown);
        }
        shown.retain(|shown| shown.inputs.contains(&accepted.input));
        *turn = shown.iter().rev().find_map(|shown| shown.turn).or(*turn);
        if let Some(at) = shown.iter().position(Shown::is_last) {
            return Ok(shown.swap_remove(at));
        }
        shown.clear();
    }
}
