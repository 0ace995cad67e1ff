//! Where a request of the native door carries its credential.

use http::{HeaderMap, HeaderName, Method, header};
use moongate_protocol::ErrorCode;

use crate::{
    keys::Kind,
    reply::{Answer, Failure},
};

/// Name of the WebSocket subprotocol that carries a key, without the key.
pub(crate) const BEARER_SUBPROTOCOL: &str = "bearer.";
/// The cookie of a browser that signed in. The prefix makes browsers take it from this origin only, for all of it,
/// and never over a connection others can read.
pub(crate) const COOKIE: &str = "__Host-moongate";
/// By this header a browser says whose page asks.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request presents, by where it stands: a key is read from no cookie, a browser's secret from nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// In a header.
    Key(&'a str),
    /// In the cookie.
    Cookie(&'a str),
}

impl<'a> Credential<'a> {
    /// The text.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Key(text) | Self::Cookie(text) => text,
        }
    }

    /// The kind of key that may stand there.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Key(_) => Kind::Api,
            Self::Cookie(_) => Kind::Browser,
        }
    }
}

/// The credential of a request whose origin, where it names one, was already found to be allowed.
///
/// # Errors
/// With two keys. With a cookie alone where something would be done and the browser does not say for which page: other
/// pages' requests carry the cookie too.
pub(crate) fn read<'a>(method: &Method, headers: &'a HeaderMap) -> Answer<Option<Credential<'a>>> {
    if let Some(key) = key(headers)? {
        return Ok(Some(Credential::Key(key)));
    }
    let Some(cookie) = cookie(headers) else { return Ok(None) };
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Ok(None);
    }
    let acts = !method.is_safe() || headers.contains_key(header::UPGRADE);
    if acts && !headers.contains_key(header::ORIGIN) {
        let message = "a browser says which page asks: send Origin, or a key by header";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    Ok(Some(Credential::Cookie(cookie)))
}

/// The key: by header, or by subprotocol where a WebSocket begins.
fn key(headers: &HeaderMap) -> Answer<Option<&str>> {
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

/// The cookie, where there is exactly one of its name.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut own = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    own.next().filter(|_| own.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_counts_only_where_the_browser_says_that_a_page_of_ours_asks() {
        let own = (header::COOKIE, "a=b; __Host-moongate=secret; c=d");
        let origin = (header::ORIGIN, "http://localhost:8137");
        let is_read = |method: Method, pairs: &[(HeaderName, &str)]| {
            read(&method, &headers(pairs)).map(|found| found == Some(Credential::Cookie("secret")))
        };
        assert!(is_read(Method::GET, std::slice::from_ref(&own)).unwrap());
        assert!(is_read(Method::POST, &[own.clone(), origin.clone()]).unwrap());
        for method in [Method::POST, Method::PATCH, Method::DELETE] {
            assert!(is_read(method, std::slice::from_ref(&own)).is_err());
        }
        let upgrade = (header::UPGRADE, "websocket");
        assert!(is_read(Method::GET, &[own.clone(), upgrade.clone()]).is_err());
        assert!(is_read(Method::GET, &[own.clone(), upgrade, origin.clone()]).unwrap());
        for (site, counts) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let pairs = [own.clone(), origin.clone(), (SEC_FETCH_SITE, site)];
            assert_eq!(is_read(Method::POST, &pairs).unwrap(), counts, "{site}");
        }
        let twice = (header::COOKIE, "__Host-moongate=secret; __Host-moongate=other");
        assert!(!is_read(Method::GET, &[twice]).unwrap());
        assert!(!is_read(Method::GET, &[(header::COOKIE, "moongate=secret")]).unwrap());
    }

    #[test]
    fn a_key_stands_before_a_cookie() {
        let both = headers(&[(header::AUTHORIZATION, "Bearer one"), (header::COOKIE, "__Host-moongate=two")]);
        assert_eq!(read(&Method::GET, &both).unwrap(), Some(Credential::Key("one")));
    }
}
