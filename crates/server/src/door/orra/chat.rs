//! Something to say, checked field by field and submitted once.

use std::collections::BTreeMap;

use moongate_core::{Accepted, Follower, SessionHandle};
use moongate_protocol::{
    AgentName, Idempotency, IdempotencyKey, ModelName, NewInput, Overrides, Part, Position, Seq,
};
use serde::Serialize;
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
    door::shared::{Door, turn::followed},
};

/// Most bytes of a client's metadata, as JSON.
pub(super) const METADATA_BYTES: usize = 16 << 10;
/// Under which label the client's metadata is kept, as JSON.
pub(super) const LABEL: &str = "orra";
/// How often a submission that failed is made anew under one idempotency key.
const ATTEMPTS: u32 = 32;

/// What a client wants to say, as it came.
#[derive(Debug, Default, Serialize)]
pub(super) struct Wish {
    pub(super) message: String,
    pub(super) namespace: Option<String>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    #[serde(skip)]
    pub(super) key: Option<String>,
}

/// What will be said, and where.
pub(super) struct Ready {
    pub(super) name: Name,
    pub(super) session: SessionHandle,
    input: NewInput,
    key: Option<(String, [u8; 32])>,
}

/// What was said.
pub(super) struct Begun {
    pub(super) accepted: Accepted,
    pub(super) follower: Follower,
    /// It was said before, under the same idempotency key.
    pub(super) again: bool,
}

/// Checks a wish, in the contract's order, and finds or makes its session.
pub(super) async fn prepare(door: &Door<Orra>, caller: &Authenticated, mut wish: Wish) -> Reply<Ready> {
    if wish.message.trim().is_empty() {
        return Err(Code::EmptyMessage.into());
    }
    let key = wish.key.take().map(|key| key.parse::<IdempotencyKey>()).transpose();
    let key = key.map_err(|_| Fault::from(Code::InvalidRequest))?;
    let body = serde_json::to_vec(&wish).map_err(|_| Fault::from(Code::InternalError))?;
    let key = key.map(|key| (format!("{}/{key}", caller.principal()), Sha256::digest(body).into()));
    let mut metadata = wish.metadata.take().unwrap_or_default();
    metadata.retain(|key, _| !key.starts_with('_'));
    let label = label(&metadata)?;
    let name = match wish.namespace.as_deref() {
        None | Some("") => fresh(door, caller, key.as_ref().map(|(key, _)| key.as_str())),
        Some(text) => Name::parse(text)?,
    };
    let meaning = Meaning::of(caller, &name)?;
    let named = match metadata.get("agent") {
        None | Some(Value::Null) => None,
        Some(Value::String(agent)) => Some(agent.as_str()),
        Some(_) => return Err(Code::InvalidRequest.into()),
    };
    let agent = agent(door, caller, wish.agent.as_deref().or(named))?;
    let model = model(door, wish.model.as_deref())?;
    door.rate.take(caller.key()).map_err(|wait| Fault::later(Code::RateLimited, wait))?;
    let session = meaning.find_or_make(door.app(), caller, &agent).await?;
    let overrides = Overrides {
        agent: Some(agent),
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
    Ok(Ready { name, session, input, key })
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
fn fresh(door: &Door<Orra>, caller: &Authenticated, key: Option<&str>) -> Name {
    let random = match key {
        None => door.app().gateway().ids().random::<16>(),
        Some(key) => {
            let hash: [u8; 32] = Sha256::digest(format!("orra/{}/{key}", caller.tenant())).into();
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
fn model(door: &Door<Orra>, named: Option<&str>) -> Reply<Option<ModelName>> {
    let Some(named) = named.filter(|name| !name.is_empty()) else { return Ok(None) };
    let model: ModelName = named.parse().map_err(|_| Fault::from(Code::ModelNotAllowed))?;
    match door.app().gateway().catalog().models.get(&model) {
        Some(_) => Ok(Some(model)),
        None => Err(Code::ModelNotAllowed.into()),
    }
}

impl Ready {
    /// Says it, once for each idempotency key: what failed may be said again.
    pub(super) async fn begin(&self) -> Reply<Begun> {
        for attempt in 0..ATTEMPTS {
            let mut input = self.input.clone();
            input.idempotency = self
                .key
                .as_ref()
                .map(|(key, body_hash)| {
                    let name = Sha256::digest(format!("{attempt}/{key}"));
                    let key = data_encoding::HEXLOWER.encode(&name).parse();
                    key.map(|key| Idempotency { key, body_hash: *body_hash })
                })
                .transpose()
                .map_err(|_| Fault::from(Code::InternalError))?;
            let before = self.session.head();
            let (accepted, follower) = followed(&self.session, input).await?;
            let at = accepted.position;
            if self.key.is_none() || at.epoch != before.epoch || at.seq > before.seq {
                return Ok(Begun { accepted, follower, again: false });
            }
            let before = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
            let ended = ended(self.session.follow(Some(before)), &accepted).await?;
            let failed = ended.is_some_and(|shown| !matches!(shown.tale, Tale::Frame(What::Response(_))));
            if !failed {
                return Ok(Begun { accepted, follower, again: true });
            }
        }
        Err(Code::RateLimited.into())
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

/// Waits for the end of an input.
pub(super) async fn until_ended(follower: &mut Follower, accepted: &Accepted) -> Reply<Shown> {
    let (mut fold, mut frames, mut shown) = (Fold::default(), Vec::new(), Vec::new());
    loop {
        follower.next(&mut frames).await?;
        for frame in frames.drain(..) {
            fold.take(&frame, &mut shown);
        }
        let last = |shown: &Shown| shown.is_last() && shown.inputs.contains(&accepted.input);
        if let Some(at) = shown.iter().position(last) {
            return Ok(shown.swap_remove(at));
        }
        shown.clear();
    }
}
