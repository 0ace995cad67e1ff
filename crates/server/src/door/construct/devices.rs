//! Pairing: a code becomes a key, and the key is a device.

use std::{sync::Arc, time::Duration};

use axum::extract::{Path, Request, State};
use http::{HeaderMap, HeaderName, StatusCode};
use moongate_core::{Device, KeyRow, Scope};
use moongate_protocol::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Construct,
    asks::clean_name,
    lock,
    paired::{Issuer, PLAIN_DEVICE},
    pairing::{NoCode, Offer},
    reply::{More, Reply, Trouble, ok},
    sessions::require,
};
use crate::{audit::audit, caller::Authenticated, door::shared::Door, guard::Client, reply::json};

/// Header that carries a code.
const PAIRING_CODE: HeaderName = HeaderName::from_static("x-pairing-code");
/// How often it is written down that a device was heard of.
const SEEN_EVERY: Duration = Duration::from_secs(60);

type State_ = State<Door<Construct>>;

#[derive(Serialize)]
struct Paired {
    paired: bool,
    persisted: bool,
    token: String,
    message: &'static str,
}

pub(super) async fn pair(State(door): State_, client: Client, headers: HeaderMap) -> Reply {
    let code = headers.get(PAIRING_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
    let device = Device { kind: Some(PLAIN_DEVICE.into()), ..Device::default() };
    let invalid = || Trouble::new(StatusCode::FORBIDDEN, "invalid_pairing_code", "Invalid pairing code");
    let token = door.pair(code, client, device, invalid).await?;
    let message = "Save this token — use it as Authorization: Bearer <token>";
    ok(&Paired { paired: true, persisted: true, token, message })
}

#[derive(Deserialize)]
struct PairBody {
    code: Option<serde_json::Value>,
    device_name: Option<serde_json::Value>,
    device_type: Option<serde_json::Value>,
}

pub(super) async fn pair_json(State(door): State_, client: Client, request: Request) -> Reply {
    let body: Option<PairBody> = door.json(request).await?;
    let body = body.unwrap_or(PairBody { code: None, device_name: None, device_type: None });
    let text = |value: &Option<serde_json::Value>| {
        value.as_ref().and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let device = Device {
        name: text(&body.device_name).and_then(|name| clean_name(&name)),
        kind: text(&body.device_type).and_then(|kind| clean_name(&kind)),
        ..Device::default()
    };
    let invalid = || {
        let message = "Invalid or expired pairing code";
        let trouble = Trouble::new(StatusCode::BAD_REQUEST, "invalid_pairing_code", message);
        trouble.with(More { paired: Some(false), ..More::default() })
    };
    let token = door.pair(&text(&body.code).unwrap_or_default(), client, device, invalid).await?;
    ok(&Paired { paired: true, persisted: true, token, message: "Pairing successful" })
}

/// What is told of a code.
#[derive(Serialize)]
struct CodeBody {
    success: bool,
    pairing_required: bool,
    pairing_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(rename = "code", skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

impl CodeBody {
    fn of(code: Option<String>, message: Option<&'static str>) -> Self {
        Self { success: true, pairing_required: true, pairing_code: code, message, error: None, why: None }
    }
}

/// The code is never public.
pub(super) async fn no_code() -> Reply {
    ok(&CodeBody::of(None, None))
}

pub(super) async fn code(State(door): State_, caller: Authenticated) -> Reply {
    require(&caller, Scope::KeysManage)?;
    let code = lock(&door.codes).of(caller.principal().as_str(), door.now());
    let message = if code.is_some() { "This code waits for a device" } else { "No code waits" };
    ok(&CodeBody::of(code, Some(message)))
}

pub(super) async fn new_code(State(door): State_, caller: Authenticated, client: Client) -> Reply {
    require(&caller, Scope::KeysManage)?;
    match door.issue(&caller, client, false, None).await {
        Ok((code, _)) => ok(&CodeBody::of(Some(code), Some("New pairing code generated"))),
        Err(NoCode::Disabled) => {
            let (message, why) = (Some("Pairing is off"), Some("pairing_disabled"));
            let body = CodeBody { success: false, error: message, why, ..CodeBody::of(None, message) };
            Ok(json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NoCode::TooMany) => Err(door.too_many_codes()),
    }
}

#[derive(Default, Deserialize)]
struct Initiate {
    /// The device may let others in; only the administrator says so.
    #[serde(default)]
    admin: bool,
}

#[derive(Serialize)]
struct Initiated {
    pairing_code: String,
    message: &'static str,
    expires_at: Timestamp,
}

pub(super) async fn initiate(
    State(door): State_,
    caller: Authenticated,
    client: Client,
    request: Request,
) -> Reply {
    require(&caller, Scope::KeysManage)?;
    let asked: Option<Initiate> = door.json(request).await?;
    let admin = asked.unwrap_or_default().admin && caller.may(Scope::Admin);
    let (pairing_code, expires_at) = door.code_or_refuse(&caller, client, admin, None).await?;
    ok(&Initiated { pairing_code, message: "New pairing code generated", expires_at })
}

/// A device as its owner is shown it.
#[derive(Serialize)]
struct DeviceBody {
    id: KeyId,
    name: Option<String>,
    device_type: Option<String>,
    paired_at: Timestamp,
    last_seen: Option<Timestamp>,
    ip_address: Option<String>,
    expires_at: Option<Timestamp>,
    scopes: Vec<&'static str>,
    current: bool,
}

#[derive(Serialize)]
struct Devices {
    count: usize,
    devices: Vec<DeviceBody>,
}

pub(super) async fn list(State(door): State_, caller: Authenticated) -> Reply {
    require(&caller, Scope::KeysManage)?;
    let now = door.now();
    let keys = door.app().gateway().store().keys(caller.tenant()).await?;
    let mine = keys.into_iter().filter(|key| is_mine(key, &caller) && is_good(key, now));
    let devices: Vec<_> = mine
        .filter_map(|key| {
            let device = key.device?;
            Some(DeviceBody {
                id: device.first_key.unwrap_or(key.id),
                name: device.name,
                device_type: device.kind,
                paired_at: key.created_at,
                last_seen: device.last_seen,
                ip_address: device.address,
                expires_at: key.expires_at,
                scopes: key.scopes.iter().map(Scope::as_str).collect(),
                current: caller.key() == Some(key.id),
            })
        })
        .collect();
    ok(&Devices { count: devices.len(), devices })
}

#[derive(Serialize)]
struct Revoked {
    message: &'static str,
    device_id: KeyId,
}

pub(super) async fn revoke(
    State(door): State_,
    caller: Authenticated,
    client: Client,
    Path(id): Path<String>,
) -> Reply {
    require(&caller, Scope::KeysManage)?;
    let (device_id, key) = door.device(&caller, &id).await?;
    door.end_key(&caller, client, key).await?;
    ok(&Revoked { message: "Device revoked", device_id })
}

#[derive(Serialize)]
struct Rotated {
    device_id: KeyId,
    pairing_code: String,
    message: &'static str,
}

pub(super) async fn rotate(
    State(door): State_,
    caller: Authenticated,
    client: Client,
    Path(id): Path<String>,
) -> Reply {
    require(&caller, Scope::KeysManage)?;
    let (device_id, key) = door.device(&caller, &id).await?;
    let old = key.id;
    door.end_key(&caller, client, key).await?;
    let (pairing_code, _) = door.code_or_refuse(&caller, client, false, Some(old)).await?;
    let message = "The old key is revoked; pair the device again with this code";
    ok(&Rotated { device_id, pairing_code, message })
}

fn is_mine(key: &KeyRow, caller: &Authenticated) -> bool {
    let is_paired = key.device.as_ref().is_some_and(|device| device.signed_in_with.is_none());
    is_paired && key.tenant == *caller.tenant() && key.principal == *caller.principal()
}

fn is_good(key: &KeyRow, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| now < end)
}

impl Door<Construct> {
    async fn issue(
        &self,
        caller: &Authenticated,
        client: Client,
        admin: bool,
        replaces: Option<KeyId>,
    ) -> Result<(String, Timestamp), NoCode> {
        let issuer = Issuer { known: Arc::clone(&caller.0), admin };
        let random = self.app().gateway().ids().random();
        let who = caller.principal().as_str();
        let issued = lock(&self.codes).issue(who, Offer { issuer, replaces }, random, self.now());
        if issued.is_ok() {
            audit(self.app(), caller, client, "pairing.code", who.to_owned()).await;
        }
        issued
    }

    async fn code_or_refuse(
        &self,
        caller: &Authenticated,
        client: Client,
        admin: bool,
        replaces: Option<KeyId>,
    ) -> Reply<(String, Timestamp)> {
        self.issue(caller, client, admin, replaces).await.map_err(|error| match error {
            NoCode::Disabled => {
                Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "pairing_disabled", "Pairing is off")
            }
            NoCode::TooMany => self.too_many_codes(),
        })
    }

    fn too_many_codes(&self) -> Trouble {
        let wait = lock(&self.codes).room_in(self.now());
        Trouble::later("rate_limited", "Too many codes wait; try again later", wait)
    }

    /// A device of the caller's, by its id.
    async fn device(&self, caller: &Authenticated, id: &str) -> Reply<(KeyId, KeyRow)> {
        let missing = || Trouble::new(StatusCode::NOT_FOUND, "device_not_found", "Device not found");
        let id: KeyId = id.parse().map_err(|_| missing())?;
        let now = self.now();
        let keys = self.app().gateway().store().keys(caller.tenant()).await?;
        let is_it = |key: &KeyRow| {
            let known_by = key.device.as_ref().and_then(|device| device.first_key).unwrap_or(key.id);
            known_by == id && is_mine(key, caller) && is_good(key, now)
        };
        Ok((id, keys.into_iter().find(is_it).ok_or_else(missing)?))
    }

    async fn end_key(&self, caller: &Authenticated, client: Client, mut key: KeyRow) -> Reply<()> {
        let id = key.id;
        key.revoked_at = Some(self.now());
        self.app().gateway().store().put_key(key).await?;
        self.app().callers().revoke(id);
        audit(self.app(), caller, client, "key.revoked", id.to_string()).await;
        Ok(())
    }

    /// Writes down that a device was heard of, now and then.
    pub(super) async fn heard_of(&self, caller: &Authenticated, client: Client) {
        let (store, now) = (self.app().gateway().store(), self.now());
        let Some(key) = caller.key() else { return };
        let Ok(Some(mut row)) = store.key(key).await else { return };
        let Some(device) = &mut row.device else { return };
        if device.last_seen.is_some_and(|seen| now.since(seen) < SEEN_EVERY) || row.revoked_at.is_some() {
            return;
        }
        (device.last_seen, device.address) = (Some(now), Some(client.0.to_string()));
        if let Err(error) = store.put_key(row).await {
            tracing::warn!(%error, "it could not be written down that a device was heard of");
        }
    }
}
