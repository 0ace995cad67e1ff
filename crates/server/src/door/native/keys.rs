//! API keys: made, listed, ended.

use std::time::Duration;

use axum::{
    extract::State,
    routing::{delete, get, post},
};
use http::StatusCode;
use moongate_core::{KeyRow, Scope, Scopes, is_reserved};
use moongate_protocol::{AgentName, ErrorCode, KeyId, Namespace, Principal, Timestamp};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::ScopeName;
use crate::{
    App,
    address::Network,
    audit::audit,
    body::Json,
    caller::{Authenticated, Known},
    extract::Id,
    guard::Client,
    keys::{Kind, mint},
    limits::{KEY_DAYS, KEY_DAYS_MAX, KEY_LIST, LABEL_BYTES},
    reply::{Answer, Failure, json, no_content, ok},
    route::{Route, Shape},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/keys", get(list)).says("List keys, without their secrets").ok::<KeysBody>(200),
        Route::post("/keys", post(create))
            .says("Make a key; its secret is shown once")
            .json::<CreateKey>()
            .ok::<NewKeyBody>(201)
            .writes(),
        Route::delete("/keys/{key}", delete(revoke))
            .says("End a key at once, also on open streams")
            .answers(204, Shape::Empty)
            .writes(),
    ]
}

/// What a new key may do, and for how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateKey {
    /// What a person calls it.
    #[serde(default)]
    #[schema(max_length = 128)]
    label: String,
    /// Who acts when the key is used; the caller when absent. Only the administrator names somebody else.
    principal: Option<Principal>,
    /// What it may do; at least one.
    #[schema(min_items = 1)]
    scopes: Vec<ScopeName>,
    /// Only these agents; all when empty.
    #[serde(default)]
    #[schema(max_items = 64)]
    agents: Vec<AgentName>,
    /// Only these namespaces and beneath; all when empty.
    #[serde(default)]
    #[schema(max_items = 64)]
    namespaces: Vec<Namespace>,
    /// Only from these networks (CIDR); from anywhere when empty.
    #[serde(default)]
    #[schema(max_items = 64)]
    networks: Vec<String>,
    /// When it ends; in 90 days when absent, in 365 at most.
    expires_at: Option<Timestamp>,
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
struct KeyBody {
    /// Its public part.
    id: KeyId,
    /// What a person calls it.
    label: String,
    /// Who acts when it is used.
    principal: Principal,
    /// What it may do.
    scopes: Vec<ScopeName>,
    /// Only these agents; all when empty.
    agents: Vec<AgentName>,
    /// Only these namespaces and beneath; all when empty.
    namespaces: Vec<Namespace>,
    /// Only from these networks; from anywhere when empty.
    networks: Vec<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it ends.
    expires_at: Option<Timestamp>,
    /// When it was ended early.
    revoked_at: Option<Timestamp>,
}

/// A new key with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
struct NewKeyBody {
    /// The key itself: what goes into `Authorization: Bearer`.
    secret: String,
    #[serde(flatten)]
    key: KeyBody,
}

/// All keys of a tenant.
#[derive(Serialize, ToSchema)]
struct KeysBody {
    /// Newest first.
    items: Vec<KeyBody>,
}

impl From<KeyRow> for KeyBody {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            label: row.label,
            principal: row.principal,
            scopes: row.scopes.iter().map(ScopeName::from).collect(),
            agents: row.agents,
            namespaces: row.namespaces,
            networks: row.networks,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

async fn list(State(app): State<App>, caller: Authenticated) -> Answer {
    caller.require(Scope::KeysManage)?;
    let rows = app.gateway().store().keys(caller.tenant()).await?;
    ok(&KeysBody { items: rows.into_iter().map(KeyBody::from).collect() })
}

async fn create(
    State(app): State<App>,
    caller: Authenticated,
    client: Client,
    Json(asked): Json<CreateKey>,
) -> Answer {
    caller.require(Scope::KeysManage)?;
    let ids = app.gateway().ids();
    let now = ids.now();
    check_form(&asked)?;
    check_rights(&caller.0, &asked)?;
    let minted = mint(ids, Kind::Api);
    let row = KeyRow {
        id: minted.id,
        tenant: caller.tenant().clone(),
        principal: asked.principal.clone().unwrap_or_else(|| caller.principal().clone()),
        label: asked.label.clone(),
        secret_hash: minted.hash.0,
        scopes: scopes(&asked),
        expires_at: Some(expiry(&caller.0, asked.expires_at, now)?),
        agents: asked.agents,
        namespaces: asked.namespaces,
        networks: asked.networks,
        created_at: now,
        revoked_at: None,
        device: None,
    };
    app.gateway().store().put_key(row.clone()).await?;
    audit(&app, &caller, client, "key.created", row.id.to_string()).await;
    let secret = minted.text.expose_secret().to_owned();
    Ok(json(StatusCode::CREATED, &NewKeyBody { secret, key: row.into() }))
}

fn scopes(asked: &CreateKey) -> Scopes {
    asked.scopes.iter().map(|name| name.scope()).collect()
}

fn check_form(asked: &CreateKey) -> Answer<()> {
    if asked.label.len() > LABEL_BYTES || asked.label.contains(char::is_control) {
        let message = format!("a label has at most {LABEL_BYTES} bytes and no control characters");
        return Err(Failure::field("label", message));
    }
    if asked.scopes.is_empty() {
        return Err(Failure::field("scopes", "a key has at least one scope"));
    }
    let lists = [("agents", asked.agents.len()), ("namespaces", asked.namespaces.len())];
    for (name, length) in lists.into_iter().chain([("networks", asked.networks.len())]) {
        if length > KEY_LIST {
            return Err(Failure::field(name, format!("at most {KEY_LIST} entries")));
        }
    }
    for (at, network) in asked.networks.iter().enumerate() {
        network
            .parse::<Network>()
            .map_err(|error| Failure::field(format!("networks[{at}]"), error.to_string()))?;
    }
    Ok(())
}

/// A key never reaches further than the one that makes it.
fn check_rights(creator: &Known, asked: &CreateKey) -> Answer<()> {
    let forbidden = |message: &str| Err(Failure::new(ErrorCode::Forbidden, message));
    let caller = &creator.caller;
    if !caller.scopes().covers(scopes(asked)) {
        return forbidden("a key cannot give scopes it does not have");
    }
    if asked.principal.as_ref().is_some_and(is_reserved) {
        return forbidden("that principal is the gateway's own");
    }
    if asked.principal.as_ref().is_some_and(|who| who != caller.principal()) && !caller.may(Scope::Admin) {
        return forbidden("only the administrator makes keys for others");
    }
    let agents = creator.agents.is_empty()
        || !asked.agents.is_empty() && asked.agents.iter().all(|agent| caller.may_use(agent));
    // A grant is a right, to the sessions shared there: who has none gives none away.
    let namespaces = asked.namespaces.is_empty() && creator.namespaces.is_empty()
        || caller.may(Scope::Admin) && creator.namespaces.is_empty()
        || !asked.namespaces.is_empty() && asked.namespaces.iter().all(|name| caller.is_granted(name));
    let within = |network: &String| {
        let network = network.parse::<Network>();
        network.is_ok_and(|network| creator.networks.iter().any(|own| own.covers(&network)))
    };
    let networks =
        creator.networks.is_empty() || !asked.networks.is_empty() && asked.networks.iter().all(within);
    if agents && namespaces && networks {
        return Ok(());
    }
    forbidden("a key cannot reach agents, namespaces or networks its maker does not")
}

/// When the key ends: never later than its maker.
fn expiry(creator: &Known, asked: Option<Timestamp>, now: Timestamp) -> Answer<Timestamp> {
    let days = |days: u64| now.plus(Duration::from_secs(days * 86_400));
    let end = asked.unwrap_or_else(|| days(KEY_DAYS));
    if end <= now || end > days(KEY_DAYS_MAX) {
        let message = format!("a key ends in the future, at most {KEY_DAYS_MAX} days from now");
        return Err(Failure::field("expires_at", message));
    }
    // A browser's own key is short-lived; what was signed in with is not.
    let own = creator.browser.as_ref().map_or(creator.expires_at, |browser| browser.opener.until);
    Ok(own.map_or(end, |own| end.min(own)))
}

async fn revoke(State(app): State<App>, caller: Authenticated, client: Client, Id(id): Id<KeyId>) -> Answer {
    caller.require(Scope::KeysManage)?;
    let store = app.gateway().store();
    let row = store.key(id).await?.filter(|row| row.tenant == *caller.tenant());
    let mut row = row.ok_or_else(|| Failure::new(ErrorCode::NotFound, "there is no such key"))?;
    if !caller.scopes().covers(row.scopes) {
        return Err(Failure::new(ErrorCode::Forbidden, "this key can do more than yours"));
    }
    if row.revoked_at.is_none() {
        row.revoked_at = Some(app.gateway().ids().now());
        store.put_key(row).await?;
    }
    app.callers().revoke(id);
    audit(&app, &caller, client, "key.revoked", id.to_string()).await;
    Ok(no_content())
}
