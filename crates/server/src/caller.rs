//! Authentication: the one place that makes a [`Caller`] of a credential.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};
use moongate_core::{AuditEntry, Caller, CallerLimits, KeyRow, Refusal, Scope, Scopes, Store};
use moongate_protocol::{AgentName, ErrorCode, KeyId, Namespace, Principal, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    address::Network,
    failures::{Failures, Penalties, Verdict},
    keys::{AdminKey, KeyHash, Kind, Presented},
    limits::{KEY_BELIEVED, KNOWN_KEYS},
    reply::{Answer, Failure},
};

/// Name of the WebSocket subprotocol that carries a key, without the key.
pub(crate) const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Times a key is looked up when keys end at the same moment.
const LOOK_UPS: usize = 4;

/// An authenticated caller, and when that ends.
#[derive(Debug)]
pub(crate) struct Known {
    /// Who, with which rights.
    pub(crate) caller: Caller,
    /// Fires when the credential stops being valid; open streams end then.
    pub(crate) ended: CancellationToken,
    /// When it ends by itself.
    pub(crate) expires_at: Option<Timestamp>,
    /// Only from these networks; from anywhere when empty.
    pub(crate) networks: Vec<Network>,
    /// Only these agents; all when empty.
    pub(crate) agents: Vec<AgentName>,
    /// Only these namespaces and beneath; all when empty.
    pub(crate) namespaces: Vec<Namespace>,
}

/// The caller of a request behind the guard.
#[derive(Clone)]
pub(crate) struct Authenticated(pub(crate) Arc<Known>);

impl std::ops::Deref for Authenticated {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0.caller
    }
}

impl Authenticated {
    /// Refuses a caller without this right.
    pub(crate) fn require(&self, scope: Scope) -> Answer<()> {
        if self.may(scope) {
            return Ok(());
        }
        let message = format!("this key lacks the scope {}", scope.as_str());
        Err(Failure::new(ErrorCode::Forbidden, message))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        // Put there by the guard; a route outside of it has nobody.
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthorized)
    }
}

/// Who may come in, and who came in lately.
pub(crate) struct Callers {
    store: Arc<dyn Store>,
    admin: Arc<Known>,
    admin_hash: KeyHash,
    remembered: RwLock<Remembered>,
    failures: Failures,
    penalties: Penalties,
}

#[derive(Default)]
struct Remembered {
    by_hash: HashMap<KeyHash, Entry>,
    /// Grows with every revocation: what was read from the store before one is not believed after it.
    revocations: u64,
}

#[derive(Clone)]
struct Entry {
    known: Arc<Known>,
    verified: Instant,
}

impl Callers {
    pub(crate) fn new(store: Arc<dyn Store>, admin: &AdminKey) -> Self {
        Self {
            store,
            admin: Arc::new(administrator()),
            admin_hash: admin.hash,
            remembered: RwLock::default(),
            failures: Failures::default(),
            penalties: Penalties::default(),
        }
    }

    /// The caller behind the credential of a request from `address`.
    ///
    /// # Errors
    /// `unauthorized`, the same for every reason; `rate_limited` after too many of those.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        let text = credential(headers)?;
        let hash = text.map(KeyHash::of);
        // Known by its hash alone: most requests are not even parsed.
        if let Some(known) = hash.and_then(|hash| self.recall(hash)) {
            return admit(known, address, now);
        }
        if let Some(wait) = self.failures.wait(address) {
            let message = "too many failed attempts; try again later";
            return Err(Refusal::later(ErrorCode::RateLimited, message, wait).into());
        }
        match self.find(text, hash, now).await? {
            Some(known) => admit(known, address, now),
            None => {
                let guessed = !matches!(credential(headers), Ok(None));
                if guessed && self.failures.count(address) {
                    self.note(address, now).await;
                }
                Err(unauthorized())
            }
        }
    }

    /// The caller behind the one credential a door found in a request from `address`.
    ///
    /// # Errors
    /// As [`Callers::authenticate`], but a valid key is never refused because of others' failures.
    pub(crate) async fn at_a_door(
        &self,
        text: Option<&str>,
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        let hash = text.map(KeyHash::of);
        let known = match hash.and_then(|hash| self.recall(hash)) {
            Some(known) => Some(known),
            None => self.find(text, hash, now).await?,
        };
        let answer = known.map_or_else(|| Err(unauthorized()), |known| admit(known, address, now));
        self.punish(answer, text.is_some(), address, now).await
    }

    /// The caller behind a door's own credential, which the door looked up itself.
    ///
    /// # Errors
    /// As [`Callers::at_a_door`].
    pub(crate) async fn by_ticket(
        &self,
        answer: Answer<Authenticated>,
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        let answer = answer.and_then(|caller| admit(caller.0, address, now));
        self.punish(answer, true, address, now).await
    }

    /// Counts a failure, and refuses failures of an address that has too many.
    async fn punish(
        &self,
        answer: Answer<Authenticated>,
        guessed: bool,
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        let failed = answer.as_ref().is_err_and(|failure| failure.code() == ErrorCode::Unauthorized);
        if !failed || !guessed {
            return answer;
        }
        match self.penalties.count(address) {
            Verdict::Below => answer,
            Verdict::Reached => {
                self.note(address, now).await;
                answer
            }
            Verdict::Over(wait) => {
                let message = "too many failed attempts; try again later";
                Err(Refusal::later(ErrorCode::RateLimited, message, wait).into())
            }
        }
    }

    /// Ends a key at once: for new requests, and for the streams it has open.
    pub(crate) fn revoke(&self, id: KeyId) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.revocations += 1;
        remembered.by_hash.retain(|_, entry| {
            let revoked = entry.known.caller.key() == Some(id);
            if revoked {
                entry.known.ended.cancel();
            }
            !revoked
        });
    }

    /// Asks the store again about every key with open streams, and ends those it no longer has.
    pub(crate) async fn verify_open(&self, now: Timestamp) {
        let open: Vec<_> = {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            let in_use = |entry: &&Entry| Arc::strong_count(&entry.known) > 1;
            remembered.by_hash.values().filter(in_use).filter_map(|e| e.known.caller.key()).collect()
        };
        for id in open {
            // A store that cannot be read ends nobody's stream: the next round asks again.
            if let Ok(row) = self.store.key(id).await
                && row.is_none_or(|row| !is_valid(&row, now))
            {
                self.revoke(id);
            }
        }
    }

    /// A caller that was verified a moment ago.
    fn recall(&self, hash: KeyHash) -> Option<Arc<Known>> {
        if hash.matches(&self.admin_hash.0) {
            return Some(Arc::clone(&self.admin));
        }
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let entry = remembered.by_hash.get(&hash)?;
        (entry.verified.elapsed() < KEY_BELIEVED).then(|| Arc::clone(&entry.known))
    }

    /// Asks the store, where the text may be a key at all.
    async fn find(
        &self,
        text: Option<&str>,
        hash: Option<KeyHash>,
        now: Timestamp,
    ) -> Answer<Option<Arc<Known>>> {
        match (text.and_then(Presented::parse), hash) {
            (Some(key), Some(hash)) if key.kind == Kind::Api => self.look_up(key.id, hash, now).await,
            _ => Ok(None),
        }
    }

    async fn look_up(&self, id: KeyId, hash: KeyHash, now: Timestamp) -> Answer<Option<Arc<Known>>> {
        for _ in 0..LOOK_UPS {
            let revocations = self.remembered.read().unwrap_or_else(PoisonError::into_inner).revocations;
            let row = self.store.key(id).await?;
            let Some(row) = row.filter(|row| hash.matches(&row.secret_hash)) else {
                return Ok(None);
            };
            if !is_valid(&row, now) {
                self.revoke(row.id);
                return Ok(None);
            }
            let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
            // Unless somebody's key ended meanwhile, perhaps this one.
            if remembered.revocations == revocations {
                return Ok(Some(remembered.keep(hash, row)));
            }
        }
        let wait = Duration::from_secs(1);
        Err(Refusal::later(ErrorCode::Unavailable, "keys are changing; try again", wait).into())
    }

    /// Writes down that an address guesses.
    async fn note(&self, address: IpAddr, now: Timestamp) {
        tracing::warn!(client.address = %address, "too many failed authentications from one address");
        let tenant = self.admin.caller.tenant().clone();
        let entry = AuditEntry {
            at: now,
            tenant,
            principal: nobody(),
            action: "auth.denied".into(),
            object: "key".into(),
            from: Some(address.to_string()),
        };
        if let Err(error) = self.store.audit(entry).await {
            tracing::error!(%error, "an audit entry could not be written");
        }
    }
}

impl Remembered {
    fn keep(&mut self, hash: KeyHash, row: KeyRow) -> Arc<Known> {
        let verified = Instant::now();
        if let Some(entry) = self.by_hash.get_mut(&hash) {
            entry.verified = verified;
            return Arc::clone(&entry.known);
        }
        if self.by_hash.len() >= KNOWN_KEYS {
            // Whoever has a stream open stays: a revocation has to find it.
            self.by_hash.retain(|_, entry| Arc::strong_count(&entry.known) > 1);
        }
        let known = Arc::new(known(row));
        self.by_hash.insert(hash, Entry { known: Arc::clone(&known), verified });
        known
    }
}

/// The administrator of a single-user installation.
fn administrator() -> Known {
    #[expect(clippy::expect_used, reason = "the literals are within the grammars")]
    let (tenant, principal) = ("default".parse().expect("a tenant"), "admin".parse().expect("a principal"));
    let scopes = Scopes::from_iter([Scope::Admin]);
    Known {
        caller: Caller::authenticated(tenant, principal, scopes, CallerLimits::default()),
        ended: CancellationToken::new(),
        expires_at: None,
        networks: Vec::new(),
        agents: Vec::new(),
        namespaces: Vec::new(),
    }
}

/// Who it was when nobody is known to be it.
fn nobody() -> Principal {
    #[expect(clippy::expect_used, reason = "the literal is within the grammar")]
    "anonymous".parse().expect("a principal")
}

fn known(row: KeyRow) -> Known {
    let networks = row.networks.iter().filter_map(|network| network.parse().ok()).collect();
    let (agents, namespaces) = (row.agents.clone(), row.namespaces.clone());
    let limits = CallerLimits { key: Some(row.id), agents: row.agents, namespaces: row.namespaces };
    Known {
        caller: Caller::authenticated(row.tenant, row.principal, row.scopes, limits),
        ended: CancellationToken::new(),
        expires_at: row.expires_at,
        networks,
        agents,
        namespaces,
    }
}

/// Whether a key may be used, wherever from. A network that cannot be read would widen the key.
fn is_valid(row: &KeyRow, now: Timestamp) -> bool {
    row.revoked_at.is_none()
        && row.expires_at.is_none_or(|end| now < end)
        && row.networks.iter().all(|network| network.parse::<Network>().is_ok())
}

fn admit(known: Arc<Known>, address: IpAddr, now: Timestamp) -> Answer<Authenticated> {
    if known.expires_at.is_some_and(|end| now >= end) {
        known.ended.cancel();
        return Err(unauthorized());
    }
    if !known.networks.is_empty() && !known.networks.iter().any(|network| network.contains(address)) {
        return Err(Failure::new(ErrorCode::Forbidden, "this key may not be used from this address"));
    }
    Ok(Authenticated(known))
}

/// The key a request carries: by header, or by subprotocol where a WebSocket begins.
fn credential(headers: &HeaderMap) -> Answer<Option<&str>> {
    let mut found = None;
    let mut take = |text| {
        let twice = found.replace(text).is_some();
        if twice { Err(Failure::invalid("send one credential")) } else { Ok(()) }
    };
    for value in headers.get_all(header::AUTHORIZATION) {
        let (scheme, key) = value.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
        take(if scheme.eq_ignore_ascii_case("bearer") { key.trim() } else { "" })?;
    }
    if headers.contains_key(header::UPGRADE) {
        for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
            let offered = value.to_str().unwrap_or_default().split(',').map(str::trim);
            for key in offered.filter_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL)) {
                take(key)?;
            }
        }
    }
    Ok(found)
}

fn unauthorized() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "send a valid key: Authorization: Bearer mg_…")
}
