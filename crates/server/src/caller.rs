//! Authentication: the one place that makes a [`Caller`] of a credential.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, Method, request::Parts};
use moongate_core::{AuditEntry, Caller, CallerLimits, KeyRow, Refusal, Scope, Scopes, Store};
use moongate_protocol::{AgentName, ErrorCode, KeyId, Namespace, Principal, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    address::Network,
    browser::{Links, Opener, Use},
    credential::{self, Credential},
    failures::{Failures, Penalties, Verdict},
    keys::{AdminKey, KeyHash, Presented},
    limits::{KEY_BELIEVED, KNOWN_KEYS},
    reply::{Answer, Failure},
};

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
    /// The browser that uses it, where it is one's.
    pub(crate) browser: Option<Use>,
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
    pub(crate) store: Arc<dyn Store>,
    pub(crate) admin: Arc<Known>,
    pub(crate) admin_key: AdminKey,
    pub(crate) links: Links,
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
            admin_key: admin.clone(),
            links: Links::default(),
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
        (method, headers): (&Method, &HeaderMap),
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        let Some(presented) = credential::read(method, headers)? else { return Err(unauthorized()) };
        let known = match self.recall(presented) {
            // Known by its hash alone: most requests are not even parsed.
            Some(known) => Some(known),
            None => {
                if let Some(wait) = self.failures.wait(address) {
                    let message = "too many failed attempts; try again later";
                    return Err(Refusal::later(ErrorCode::RateLimited, message, wait).into());
                }
                self.find(presented, now).await?
            }
        };
        match known {
            Some(known) => self.admit_used(known, address, now).await,
            None => {
                // A browser comes back with what it has, long after that ended: nobody guesses there.
                let guessed = matches!(presented, Credential::Key(_));
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
        let known = match text.map(Credential::Key) {
            Some(presented) => match self.recall(presented) {
                Some(known) => Some(known),
                None => self.find(presented, now).await?,
            },
            None => None,
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
    pub(crate) async fn punish<T>(
        &self,
        answer: Answer<T>,
        guessed: bool,
        address: IpAddr,
        now: Timestamp,
    ) -> Answer<T> {
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

    /// Ends a key at once: for new requests, for the streams it has open, and for the browsers signed in with it.
    pub(crate) fn revoke(&self, id: KeyId) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.revocations += 1;
        self.links.forget(id);
        remembered.by_hash.retain(|_, entry| {
            let opener = entry.known.browser.as_ref().map(|browser| browser.opener.key);
            let revoked = entry.known.caller.key() == Some(id) || opener == Some(id);
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
            if let Ok(row) = self.store.key(id).await {
                let ended = match row {
                    Some(row) => matches!(self.standing(&row, now).await, Ok(None)),
                    None => true,
                };
                if ended {
                    self.revoke(id);
                }
            }
        }
    }

    /// A caller that was verified a moment ago.
    fn recall(&self, presented: Credential<'_>) -> Option<Arc<Known>> {
        let hash = KeyHash::of(presented.text());
        let by_cookie = matches!(presented, Credential::Cookie(_));
        if hash.matches(&self.admin_key.hash.0) {
            return (!by_cookie).then(|| Arc::clone(&self.admin));
        }
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let entry = remembered.by_hash.get(&hash)?;
        let fits = entry.known.browser.is_some() == by_cookie;
        (fits && entry.verified.elapsed() < KEY_BELIEVED).then(|| Arc::clone(&entry.known))
    }

    /// Asks the store, where the text may be a key at all.
    async fn find(&self, presented: Credential<'_>, now: Timestamp) -> Answer<Option<Arc<Known>>> {
        match Presented::parse(presented.text()) {
            Some(key) if key.kind == presented.kind() => {
                self.look_up(key.id, KeyHash::of(presented.text()), now).await
            }
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
            let Some(opener) = self.standing(&row, now).await? else {
                self.revoke(row.id);
                return Ok(None);
            };
            let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
            // Unless somebody's key ended meanwhile, perhaps this one.
            if remembered.revocations == revocations {
                return Ok(Some(remembered.keep(hash, row, opener, now)));
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
    fn keep(&mut self, hash: KeyHash, row: KeyRow, opener: Option<Opener>, now: Timestamp) -> Arc<Known> {
        let verified = Instant::now();
        if let Some(entry) = self.by_hash.get_mut(&hash) {
            entry.verified = verified;
            return Arc::clone(&entry.known);
        }
        if self.by_hash.len() >= KNOWN_KEYS {
            // Whoever has a stream open stays: a revocation has to find it.
            self.by_hash.retain(|_, entry| Arc::strong_count(&entry.known) > 1);
        }
        let browser = opener.map(|opener| Use::new(opener, now));
        let known = Arc::new(known(row, browser));
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
        browser: None,
    }
}

/// Who it was when nobody is known to be it.
fn nobody() -> Principal {
    #[expect(clippy::expect_used, reason = "the literal is within the grammar")]
    "anonymous".parse().expect("a principal")
}

pub(crate) fn known(row: KeyRow, browser: Option<Use>) -> Known {
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
        browser,
    }
}

/// Whether a key may be used, wherever from. A network that cannot be read would widen the key.
pub(crate) fn is_valid(row: &KeyRow, now: Timestamp) -> bool {
    row.revoked_at.is_none()
        && row.expires_at.is_none_or(|end| now < end)
        && row.networks.iter().all(|network| network.parse::<Network>().is_ok())
}

pub(crate) fn admit(known: Arc<Known>, address: IpAddr, now: Timestamp) -> Answer<Authenticated> {
    if known.expires_at.is_some_and(|end| now >= end) {
        known.ended.cancel();
        return Err(unauthorized());
    }
    if !known.networks.is_empty() && !known.networks.iter().any(|network| network.contains(address)) {
        return Err(Failure::new(ErrorCode::Forbidden, "this key may not be used from this address"));
    }
    Ok(Authenticated(known))
}

pub(crate) fn unauthorized() -> Failure {
    Failure::new(ErrorCode::Unauthorized, "send a valid key: Authorization: Bearer mg_…")
}
