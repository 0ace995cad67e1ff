//! Names of sessions: what a client may call one, and whose session that name means.

use http::Uri;
use moongate_core::{Caller, NewSession, Scope, SessionHandle};
use moongate_protocol::{AgentName, Alias, ErrorCode, Namespace};

use super::{
    Orra,
    fault::{Code, Fault, Reply},
};
use crate::{App, door::shared::Dialect as _, guard::percent};

/// Most segments of a name.
const SEGMENTS: usize = 16;
/// Longest segment, in bytes.
const SEGMENT_BYTES: usize = 128;
/// Longest name, in bytes.
const NAME_BYTES: usize = 512;
/// The one place of every session that belongs to one principal alone.
pub(super) const PRIVATE: &str = "~private";

/// A name a client chose, within the grammar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(String);

impl Name {
    /// Reads a name.
    pub(super) fn parse(text: &str) -> Reply<Self> {
        let is_segment = |segment: &str| {
            (1..=SEGMENT_BYTES).contains(&segment.len())
                && segment.trim() == segment
                && !segment.starts_with('~')
                && !segment.chars().any(char::is_control)
        };
        let fits = text.len() <= NAME_BYTES && text.split(':').count() <= SEGMENTS;
        if fits && text.split(':').all(is_segment) {
            return Ok(Self(text.to_owned()));
        }
        Err(Code::InvalidNamespace.into())
    }

    /// A name nobody used, within what the caller was granted; the same for the same `seed`.
    pub(super) fn fresh(caller: &Caller, random: [u8; 16]) -> Self {
        let unique = uuid(random);
        match caller.grants().first().map(Namespace::as_str) {
            None | Some("*") => Self(unique),
            Some(grant) => Self(format!("{grant}:{unique}")),
        }
    }

    /// The name of a request's last path segment.
    pub(super) fn of_path(uri: &Uri) -> Reply<Self> {
        let last = uri.path().rsplit('/').next().unwrap_or_default();
        let bytes = percent::bytes(last);
        let text = String::from_utf8(bytes).map_err(|_| Fault::from(Code::InvalidNamespace))?;
        Self::parse(&text)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }
}

/// What a name means to a caller.
pub(super) struct Meaning {
    alias: Alias,
    namespace: Namespace,
    shared: bool,
}

impl Meaning {
    /// # Errors
    /// `namespace_forbidden` where the key was not granted it, whether or not it exists.
    pub(super) fn of(caller: &Caller, name: &Name) -> Reply<Self> {
        let invalid = |_| Fault::from(Code::InvalidNamespace);
        if caller.grants().is_empty() {
            let alias = format!("private/{}/{}", caller.principal(), name.as_str());
            let namespace = PRIVATE.parse().map_err(invalid)?;
            return Ok(Self { alias: alias.parse().map_err(invalid)?, namespace, shared: false });
        }
        let namespace: Namespace = name.as_str().parse().map_err(invalid)?;
        if !caller.is_granted(&namespace) {
            return Err(Code::NamespaceForbidden.into());
        }
        let alias = format!("shared/{}", name.as_str()).parse().map_err(invalid)?;
        Ok(Self { alias, namespace, shared: true })
    }

    /// The session of this name, for whoever has this right over it.
    pub(super) async fn find(&self, app: &App, caller: &Caller, scope: Scope) -> Reply<SessionHandle> {
        Ok(app.gateway().by_alias_to(caller, (Orra::NAME, &self.alias), scope).await?)
    }

    /// The session of this name, made where there is none.
    pub(super) async fn find_or_make(
        &self,
        app: &App,
        caller: &Caller,
        agent: &AgentName,
    ) -> Reply<SessionHandle> {
        let (gateway, scope) = (app.gateway(), Scope::SessionsWrite);
        match gateway.by_alias_to(caller, (Orra::NAME, &self.alias), scope).await {
            Err(refusal) if refusal.code == ErrorCode::NotFound => {}
            found => return Ok(found?),
        }
        let new = NewSession {
            agent: Some(agent.clone()),
            namespace: Some(self.namespace.clone()),
            alias: Some(self.alias.clone()),
            shared: self.shared,
            ..NewSession::default()
        };
        let created = gateway.create(caller, Orra::NAME, new).await?;
        Ok(gateway.session_to(caller, created.view.id, scope).await?)
    }
}

/// Random bytes as a UUID of version 4.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_within_the_grammar_and_kept_byte_by_byte() {
        let longest = "x".repeat(128);
        let most = ["a"; 16].join(":");
        for good in [
            "a",
            "tenant:acme:user:bob",
            "..",
            "..:..:evil",
            "bob@mail.com",
            "日本:ü",
            "a b",
            &longest,
            &most,
        ] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        let (long, many) = ("x".repeat(129), ["a"; 17].join(":"));
        let whole = [longest.as_str(); 5].join(":");
        for bad in [
            "",
            "a::b",
            ":a",
            "a:",
            "~x",
            "a:~private",
            " a",
            "a ",
            "a: b",
            "a\u{7}b",
            "a\nb",
            &long,
            &many,
            &whole,
        ] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
        let of = |path: &str| Name::of_path(&path.parse().unwrap()).map(|name| name.0).ok();
        assert_eq!(of("/api/sessions/tenant%3Aacme:x%2Fy").as_deref(), Some("tenant:acme:x/y"));
        assert_eq!(of("/api/sessions/%2541").as_deref(), Some("%41"));
        assert_eq!(of("/api/sessions/%ff"), None);
    }
}
