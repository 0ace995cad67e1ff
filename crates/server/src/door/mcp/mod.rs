//! The MCP door: agents as tools, for whatever speaks the Model Context Protocol over streamable HTTP. Nothing is kept
//! between requests but the calls that are under way; a call is a turn of a session.

mod call;
mod era;
mod fault;
mod message;
mod running;
mod settings;
mod tale;
mod tools;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moongate_protocol::ItemId;
use serde::{Deserialize, Serialize};

pub use self::settings::{KeyLimits, Settings};
use self::{
    era::Era,
    fault::{Answer, Fault},
    message::{Id, Message, Reply},
    running::{Running, Whose},
    tools::{Initialize, Nothing},
};
use super::shared::{Carriers, Cors, Dialect, Door, Path, Place, Refused, rate::Rate};
use crate::{
    body::{read, require_json},
    caller::Authenticated,
    limits::JSON_BODY_BYTES,
    reply::json,
};

/// The state of the door's handler.
type At = State<Door<Mcp>>;
/// What the store calls the door's sessions.
const DOOR: &str = "mcp";
/// What a handshake called the client.
const CLIENT: HeaderName = HeaderName::from_static("mcp-session-id");
/// Longest name of a client that is remembered, in bytes.
const CLIENT_BYTES: usize = 128;

/// What the door keeps.
pub(crate) struct Mcp {
    settings: Settings,
    pub(super) rate: Arc<Rate>,
    running: Arc<Running>,
}

impl Mcp {
    pub(crate) fn new(settings: Settings) -> Self {
        let rate = Arc::new(Rate::new(settings.limits.inputs_per_minute));
        Self { settings, rate, running: Arc::default() }
    }
}

impl Dialect for Mcp {
    const NAME: &'static str = DOOR;

    fn place(&self) -> Place {
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.allowed_origins.clone(),
            carriers: Carriers::default(),
        }
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        vec![Path::post("/", post)]
    }

    fn refuse(&self, refused: &Refused) -> Response {
        Fault::refused(&refused.failure).into_response()
    }

    fn cors(&self) -> Cors {
        Cors {
            methods: "POST",
            headers: "Authorization, Content-Type, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name",
            exposes: "mcp-session-id, retry-after",
        }
    }
}

/// A request on its way through the door.
struct Asking {
    caller: Authenticated,
    headers: HeaderMap,
    era: Era,
    id: Id,
    message: Message,
    /// The message as it came, for the parameters of its method.
    bytes: bytes::Bytes,
}

/// The result of a method; the newest revision says that it is one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Complete<R> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(flatten)]
    result: R,
}

/// The parameters of `notifications/cancelled`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    #[serde(default)]
    request_id: Option<Id>,
}

impl Asking {
    /// What a method came to.
    fn reply<R: Serialize>(&self, result: R) -> Reply<impl Serialize + use<R>> {
        let result_type = self.era.is_stateless().then_some("complete");
        Reply::result(self.id.clone(), Complete { result_type, result })
    }

    fn answer<R: Serialize>(&self, result: R) -> Response {
        json(StatusCode::OK, &self.reply(result))
    }
}

async fn post(State(door): At, caller: Authenticated, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let read = async {
        require_json(&parts.headers)?;
        let bytes = read(body, JSON_BODY_BYTES, door.app()).await?;
        let message = Message::read(&bytes)?;
        Ok::<_, Fault>((bytes, message))
    };
    let (bytes, message) = match read.await {
        Ok(read) => read,
        Err(fault) => return fault.into_response(),
    };
    let era = match Era::of(&message, &parts.headers) {
        Ok(era) => era,
        Err(fault) => return fault.about(message.id, true),
    };
    let headers = parts.headers;
    let Some(id) = message.id.clone() else {
        heard(&door, &caller, &headers, (&message, &bytes));
        return StatusCode::ACCEPTED.into_response();
    };
    if message.method.is_none() {
        // An answer to something nobody asked.
        return StatusCode::ACCEPTED.into_response();
    }
    let asking = Asking { caller, headers, era, id: id.clone(), message, bytes };
    obey(&door, asking).await.unwrap_or_else(|fault| fault.about(Some(id), era.is_stateless()))
}

async fn obey(door: &Door<Mcp>, asking: Asking) -> Answer<Response> {
    let gateway = door.app().gateway();
    match (asking.message.method.as_deref().unwrap_or_default(), asking.era) {
        ("initialize", Era::Handshake) => {
            let wanted: Initialize = message::params(&asking.bytes)?;
            let mut response = asking.answer(tools::initialize(&wanted));
            let client = gateway.ids().make(ItemId::new).to_string();
            response.headers_mut().extend(HeaderValue::try_from(client).ok().map(|client| (CLIENT, client)));
            Ok(response)
        }
        ("ping", Era::Handshake) => Ok(asking.answer(Nothing {})),
        ("server/discover", Era::Stateless) => Ok(asking.answer(tools::discover())),
        ("tools/list", _) => Ok(asking.answer(tools::list(gateway, &asking.caller)?)),
        ("tools/call", _) => call::call(door, asking).await,
        (other, _) => Err(Fault::no_method(other)),
    }
}

/// Takes a notification. Those nobody knows say nothing to us.
fn heard(door: &Door<Mcp>, caller: &Authenticated, headers: &HeaderMap, (message, bytes): (&Message, &[u8])) {
    if message.method.as_deref() == Some("notifications/cancelled")
        && let Ok(Cancelled { request_id: Some(id) }) = message::params(bytes)
    {
        door.running.stop(&whose(caller, headers, id));
    }
}

/// Whose request of this id it is.
fn whose(caller: &Authenticated, headers: &HeaderMap, id: Id) -> Whose {
    let client = headers.get(CLIENT).and_then(|name| name.to_str().ok());
    Whose {
        tenant: caller.tenant().clone(),
        principal: caller.principal().clone(),
        key: caller.key(),
        client: client.filter(|name| name.len() <= CLIENT_BYTES).map(str::to_owned),
        id,
    }
}
