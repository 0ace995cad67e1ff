//! From a code to a device's key.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moongate_core::{AuditEntry, Device, KeyRow, Scope, Scopes};
use moongate_protocol::{KeyId, Principal};
use secrecy::ExposeSecret as _;

use super::{
    Construct, lock,
    pairing::NoKey,
    reply::{More, Reply, Trouble},
};
use crate::{
    caller::Known,
    door::shared::Door,
    guard::Client,
    keys::{Kind, mint},
};

/// What a device may do, as far as whoever lets it in may.
const DEVICE_SCOPES: [Scope; 4] =
    [Scope::SessionsRead, Scope::SessionsWrite, Scope::UsageRead, Scope::ApprovalsDecide];
/// What a device is that does not say what it is.
pub(super) const PLAIN_DEVICE: &str = "legacy-pair";
const DAY: Duration = Duration::from_secs(86_400);

/// Who lets a device in, and how far.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) known: Arc<Known>,
    /// The device may let others in.
    pub(super) admin: bool,
}

/// An address has to wait.
fn wait(wait: Duration) -> Trouble {
    let trouble = Trouble::later("rate_limited", "Too many pairing attempts; try again later", wait);
    trouble.with(More { paired: Some(false), ..More::default() })
}

impl Door<Construct> {
    /// A code's key, on disk before it is told.
    pub(super) async fn pair(
        &self,
        code: &str,
        client: Client,
        device: Device,
        invalid: impl Fn() -> Trouble,
    ) -> Reply<String> {
        let redeemed = lock(&self.codes).redeem(code, client.0, self.now());
        let offer = match redeemed {
            Ok(offer) => offer,
            Err(NoKey::Wait(left)) => return Err(wait(left)),
            Err(NoKey::Invalid) => {
                self.note("pairing.failed", None, client.0).await;
                return Err(invalid());
            }
            Err(NoKey::LockedOut(_)) => {
                self.note("pairing.locked_out", None, client.0).await;
                return Err(invalid());
            }
        };
        let old = match offer.replaces {
            Some(old) => self.app().gateway().store().key(old).await?,
            None => None,
        };
        let minted = mint(self.app().gateway().ids(), Kind::Api);
        let device = self.device_of(device, old, client.0);
        let row = self.key_row(&offer.issuer, (minted.id, minted.hash.0), device);
        let principal = row.principal.clone();
        self.app().gateway().store().put_key(row).await?;
        self.note("pairing.succeeded", Some((principal, minted.id)), client.0).await;
        Ok(minted.text.expose_secret().to_owned())
    }

    /// A device as it is kept: what it says of itself, and what was known of it before.
    fn device_of(&self, new: Device, old: Option<KeyRow>, from: IpAddr) -> Device {
        let old_key = old.as_ref().map(|key| key.id);
        let before = old.and_then(|key| key.device).unwrap_or_default();
        let plain = new.kind.as_deref() == Some(PLAIN_DEVICE);
        Device {
            first_key: before.first_key.or(old_key),
            name: new.name.or(before.name),
            kind: if plain { before.kind.or(new.kind) } else { new.kind.or(before.kind) },
            last_seen: Some(self.now()),
            signed_in_with: None,
            address: Some(from.to_string()),
        }
    }

    fn key_row(&self, issuer: &Issuer, (id, secret_hash): (KeyId, [u8; 32]), device: Device) -> KeyRow {
        let (now, known) = (self.now(), &issuer.known);
        let caller = &known.caller;
        let wanted = DEVICE_SCOPES.into_iter().chain(issuer.admin.then_some(Scope::KeysManage));
        let scopes: Scopes = wanted.filter(|scope| caller.may(*scope)).collect();
        let end = now.plus(DAY.saturating_mul(u32::try_from(self.settings.pairing.key_days).unwrap_or(3650)));
        KeyRow {
            id,
            tenant: caller.tenant().clone(),
            principal: caller.principal().clone(),
            label: "paired device".into(),
            secret_hash,
            scopes,
            agents: known.agents.clone(),
            namespaces: known.namespaces.clone(),
            networks: Vec::new(),
            created_at: now,
            // Never later than the key that let it in.
            expires_at: Some(known.expires_at.map_or(end, |own| end.min(own))),
            revoked_at: None,
            device: Some(device),
        }
    }

    /// Writes an audit entry of somebody who has no key yet.
    async fn note(&self, action: &str, paired: Option<(Principal, KeyId)>, from: IpAddr) {
        let (Ok(tenant), Ok(nobody)) = ("default".parse(), "anonymous".parse()) else { return };
        let (principal, object) = match paired {
            Some((principal, key)) => (principal, key.to_string()),
            None => (nobody, "pairing".to_owned()),
        };
        let entry = AuditEntry {
            at: self.now(),
            tenant,
            principal,
            action: action.to_owned(),
            object,
            from: Some(from.to_string()),
        };
        if let Err(error) = self.app().gateway().store().audit(entry).await {
            tracing::error!(%error, action, "an audit entry could not be written");
        }
    }
}
