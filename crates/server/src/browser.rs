//! Browsers that signed in: each has a key of its own, which only its cookie carries and which ends with the key it
//! was signed in with.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moongate_core::{Device, Ids, KeyRow, Refusal};
use moongate_protocol::{ErrorCode, KeyId, Timestamp};
use secrecy::SecretString;

use crate::{
    caller::{Authenticated, Callers, Known, admit, is_valid, known, unauthorized},
    keys::{KeyHash, Kind, mint},
    limits::{BROWSER_IDLE, BROWSER_LIFE, LINK_LIFE, LINKS},
    reply::Answer,
};

/// Random bytes of a link.
const LINK_BYTES: usize = 16;

/// The key a browser was signed in with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener {
    /// Which.
    pub(crate) key: KeyId,
    /// When it ends by itself.
    pub(crate) until: Option<Timestamp>,
}

/// How a browser's key is used. What is not used for long ends.
#[derive(Debug)]
pub(crate) struct Use {
    /// The key behind it.
    pub(crate) opener: Opener,
    /// When a request last came, in milliseconds. Kept in memory alone: a restart counts as a use.
    last: AtomicI64,
}

impl Use {
    pub(crate) fn new(opener: Opener, now: Timestamp) -> Self {
        Self { opener, last: AtomicI64::new(now.as_millis()) }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let last = Timestamp::from_millis(self.last.load(Ordering::Relaxed));
        now.since(last) >= BROWSER_IDLE
    }

    fn touch(&self, now: Timestamp) {
        self.last.fetch_max(now.as_millis(), Ordering::Relaxed);
    }
}

/// Links that sign a browser in, once each. A restart forgets them.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<KeyHash, Link>>);

struct Link {
    opener: KeyId,
    until: Timestamp,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the links a key made.
    pub(crate) fn forget(&self, opener: KeyId) {
        self.lock().retain(|_, link| link.opener != opener);
    }

    fn offer(&self, code: &str, link: Link, now: Timestamp) -> Answer<()> {
        let mut links = self.lock();
        links.retain(|_, link| now < link.until);
        if links.len() >= LINKS {
            let message = "too many links wait for their browser; use one of them, or wait";
            return Err(Refusal::later(ErrorCode::RateLimited, message, LINK_LIFE).into());
        }
        links.insert(KeyHash::of(code), link);
        Ok(())
    }

    /// Whoever comes first has it.
    fn take(&self, code: &str, now: Timestamp) -> Option<KeyId> {
        let link = self.lock().remove(&KeyHash::of(code))?;
        (now < link.until).then_some(link.opener)
    }
}

/// What a browser signs in with.
pub(crate) enum SignIn<'a> {
    /// A key.
    Key(&'a str),
    /// A link's code.
    Code(&'a str),
}

/// A browser's new key.
pub(crate) struct SignedIn {
    /// What the cookie holds.
    pub(crate) secret: SecretString,
    /// The key's public part.
    pub(crate) id: KeyId,
    /// Who acts.
    pub(crate) caller: Authenticated,
}

impl Callers {
    /// A browser's own key, for what it presented.
    ///
    /// # Errors
    /// `unauthorized` when that opens nothing; `rate_limited` after too many of those.
    pub(crate) async fn sign_in(
        &self,
        presented: SignIn<'_>,
        (client, browser): (IpAddr, String),
        ids: &Ids,
    ) -> Answer<SignedIn> {
        let now = ids.now();
        let opener = match presented {
            SignIn::Key(key) => {
                let caller = self.at_a_door(Some(key), client, now).await?;
                self.opener(&caller)
            }
            SignIn::Code(code) => {
                let opener = self.links.take(code, now);
                self.punish(opener.ok_or_else(unauthorized), true, client, now).await?
            }
        };
        let caller = self.opened(opener, client, now).await?;
        let behind = &caller.0;
        let minted = mint(ids, Kind::Browser);
        let life = now.plus(BROWSER_LIFE);
        let row = KeyRow {
            id: minted.id,
            tenant: caller.tenant().clone(),
            principal: caller.principal().clone(),
            label: browser,
            secret_hash: minted.hash.0,
            scopes: caller.scopes(),
            agents: behind.agents.clone(),
            namespaces: behind.namespaces.clone(),
            networks: behind.networks.iter().map(ToString::to_string).collect(),
            created_at: now,
            expires_at: Some(behind.expires_at.map_or(life, |end| end.min(life))),
            revoked_at: None,
            device: Some(Device {
                signed_in_with: Some(opener),
                address: Some(client.to_string()),
                ..Device::default()
            }),
        };
        self.store.put_key(row).await?;
        Ok(SignedIn { secret: minted.text, id: minted.id, caller })
    }

    /// A code that signs a browser in as the caller, once, and when it ends.
    ///
    /// # Errors
    /// `rate_limited` when too many wait.
    pub(crate) async fn link(&self, caller: &Authenticated, ids: &Ids) -> Answer<(String, Timestamp)> {
        let opener = self.opener(caller);
        let code = URL_SAFE_NO_PAD.encode(ids.random::<LINK_BYTES>());
        let (now, until) = (ids.now(), ids.now().plus(LINK_LIFE));
        self.links.offer(&code, Link { opener, until }, now)?;
        Ok((code, until))
    }

    /// Ends a browser's key, for good.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn sign_out(&self, id: KeyId, now: Timestamp) -> Answer<()> {
        if let Some(mut row) = self.store.key(id).await?.filter(|row| row.revoked_at.is_none()) {
            row.revoked_at = Some(now);
            self.store.put_key(row).await?;
        }
        self.revoke(id);
        Ok(())
    }

    /// Admits a caller, unless it is a browser that stayed away for too long.
    pub(crate) async fn admit_used(
        &self,
        known: Arc<Known>,
        client: IpAddr,
        now: Timestamp,
    ) -> Answer<Authenticated> {
        if let Some(browser) = &known.browser {
            if browser.is_idle(now) {
                if let Some(id) = known.caller.key() {
                    self.sign_out(id, now).await?;
                }
                return Err(unauthorized());
            }
            browser.touch(now);
        }
        admit(known, client, now)
    }

    /// The key behind a row that is a browser's, and nothing for other rows; `None` when the row, or that key, holds no
    /// more.
    pub(crate) async fn standing(&self, row: &KeyRow, now: Timestamp) -> Answer<Option<Option<Opener>>> {
        if !is_valid(row, now) {
            return Ok(None);
        }
        let Some(key) = row.device.as_ref().and_then(|device| device.signed_in_with) else {
            return Ok(Some(None));
        };
        if key == self.admin_key.id {
            return Ok(Some(Some(Opener { key, until: None })));
        }
        let behind = self.store.key(key).await?.filter(|behind| is_valid(behind, now));
        Ok(behind.map(|behind| Some(Opener { key, until: behind.expires_at })))
    }

    /// The key behind a caller: its own, or the one its browser was signed in with.
    fn opener(&self, caller: &Authenticated) -> KeyId {
        match (&caller.0.browser, caller.key()) {
            (Some(browser), _) => browser.opener.key,
            (None, Some(key)) => key,
            (None, None) => self.admin_key.id,
        }
    }

    /// The caller a key stands for.
    async fn opened(&self, key: KeyId, client: IpAddr, now: Timestamp) -> Answer<Authenticated> {
        if key == self.admin_key.id {
            return admit(Arc::clone(&self.admin), client, now);
        }
        let row = self.store.key(key).await?.filter(|row| is_valid(row, now));
        let row = row.ok_or_else(unauthorized)?;
        admit(Arc::new(known(row, None)), client, now)
    }
}

/// What a browser is called in the list of keys, from what it says of itself.
pub(crate) fn name_of(user_agent: &str) -> String {
    let first = |known: &[(&'static str, &'static str)]| {
        known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    let browser =
        first(&[("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chromium"), ("Safari/", "Safari")]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => "A browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_has_a_name_a_person_knows() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(name_of(firefox), "Firefox on Linux");
        let chrome = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/148.0 Mobile Safari/537.36";
        assert_eq!(name_of(chrome), "Chromium on Android");
        assert_eq!(name_of("curl/8"), "A browser");
    }
}
