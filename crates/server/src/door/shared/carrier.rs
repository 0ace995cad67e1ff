//! Where a request of a door carries its key.

use http::{HeaderMap, Uri, header};

use super::path::Access;
use crate::{credential::BEARER_SUBPROTOCOL, guard::percent};

/// Parameters under which credentials get into URLs.
const QUERY_NAMES: [&str; 3] = ["token", "api_key", "access_token"];

/// How keys may come, besides the header that every door reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carriers {
    /// `?token=` of a WebSocket is read.
    pub(crate) query: bool,
    /// A credential in a URL where it is not read is refused; else it is ignored.
    pub(crate) refuses_query: bool,
}

/// The first credential of a request decides: a later one never rescues it.
pub(crate) fn presented(
    headers: &HeaderMap,
    uri: &Uri,
    access: Access,
    carriers: Carriers,
) -> Option<String> {
    let in_header = headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
        let is_key = scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty();
        is_key.then(|| key.trim().to_owned())
    });
    if in_header.is_some() || access != Access::Socket {
        return in_header;
    }
    let offered =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut names = offered.flat_map(|value| value.split(',')).map(str::trim);
    let in_subprotocol =
        names.find_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL).filter(|key| !key.is_empty()));
    if let Some(key) = in_subprotocol {
        return Some(key.to_owned());
    }
    if !carriers.query {
        return None;
    }
    query(uri).find(|(name, value)| name == "token" && !value.is_empty()).map(|(_, value)| value)
}

/// Whether the URL carries a credential nobody reads, and the door says so.
pub(crate) fn is_misplaced(uri: &Uri, access: Access, carriers: Carriers) -> bool {
    let read = access == Access::Socket && carriers.query;
    carriers.refuses_query
        && query(uri).any(|(name, _)| QUERY_NAMES.contains(&name.as_str()) && !(read && name == "token"))
}

fn query(uri: &Uri) -> impl Iterator<Item = (String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent::once(name), percent::once(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        headers: &[(header::HeaderName, &str)],
        target: &str,
        access: Access,
        query: bool,
    ) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        presented(&map, &target.parse().unwrap(), access, Carriers { query, refuses_query: false })
    }

    #[test]
    fn the_first_credential_decides_and_each_is_read_only_where_it_may_be() {
        let auth = (header::AUTHORIZATION, "bEaReR  one");
        let basic = (header::AUTHORIZATION, "Basic x");
        let protocol = (header::SEC_WEBSOCKET_PROTOCOL, "orra.v1, bearer., bearer.two, bearer.three");
        let all = [auth.clone(), protocol.clone()];
        assert_eq!(find(&all, "/ws?token=four", Access::Socket, true).as_deref(), Some("one"));
        let two = find(&[basic.clone(), protocol.clone()], "/ws?token=four", Access::Socket, true);
        assert_eq!(two.as_deref(), Some("two"));
        assert_eq!(find(&[], "/ws?token=fo%75r", Access::Socket, true).as_deref(), Some("four"));
        assert_eq!(find(&[], "/ws?token=four", Access::Socket, false), None);
        assert_eq!(find(&[basic, protocol], "/x?token=four", Access::Key, true), None);
    }
}
