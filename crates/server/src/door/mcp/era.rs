//! Which revision of the protocol a request speaks. The newest one has no handshake: each request says its revision,
//! and its headers say what its body says. Those before begin with `initialize`.

use http::HeaderMap;

use super::{
    fault::{Answer, Fault},
    message::Message,
};

/// The revision without a handshake.
const STATELESS: &str = "2026-07-28";
/// The revisions that begin with a handshake, newest first.
const WITH_HANDSHAKE: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// All of them.
pub(super) const VERSIONS: [&str; 4] = [STATELESS, WITH_HANDSHAKE[0], WITH_HANDSHAKE[1], WITH_HANDSHAKE[2]];

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
/// Methods whose subject stands in a header.
const NAMED: [&str; 2] = ["tools/call", "prompts/get"];

/// How a request is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Each request stands for itself.
    Stateless,
    /// A client began with `initialize`.
    Handshake,
}

impl Era {
    /// What a message and its headers say.
    ///
    /// # Errors
    /// When they say different things, or something unknown.
    pub(super) fn of(message: &Message, headers: &HeaderMap) -> Answer<Self> {
        let header = text(headers, VERSION);
        let stated = message.params.meta.version.as_deref();
        if stated.is_none() && header != Some(STATELESS) {
            return match header {
                Some(other) if !WITH_HANDSHAKE.contains(&other) => Err(Fault::version(other)),
                _ => Ok(Self::Handshake),
            };
        }
        if header != stated {
            return match stated {
                // A notification has no parameters that say it.
                None if message.id.is_none() => Ok(Self::Stateless),
                None => Err(Fault::params("params._meta does not say the revision")),
                Some(_) => Err(Fault::header("MCP-Protocol-Version")),
            };
        }
        if let Some(other) = stated.filter(|stated| *stated != STATELESS) {
            return Err(Fault::version(other));
        }
        let method = message.method.as_deref();
        if method.is_some() && text(headers, METHOD) != method {
            return Err(Fault::header("Mcp-Method"));
        }
        let is_named = method.is_some_and(|method| NAMED.contains(&method));
        if is_named && text(headers, NAME) != message.params.name.as_deref() {
            return Err(Fault::header("Mcp-Name"));
        }
        if message.params.meta.capabilities.is_none() {
            return Err(Fault::params("params._meta does not say what the client can do"));
        }
        Ok(Self::Stateless)
    }

    /// Whether each request stands for itself.
    pub(super) fn is_stateless(self) -> bool {
        self == Self::Stateless
    }
}

/// The revision a handshake comes to: the client's, where it is spoken here.
pub(super) fn agreed(wanted: &str) -> &'static str {
    WITH_HANDSHAKE.into_iter().find(|version| *version == wanted).unwrap_or(WITH_HANDSHAKE[0])
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
