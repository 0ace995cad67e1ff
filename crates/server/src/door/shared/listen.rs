//! Where a door listens, as an operator writes it: a host's name or address, and a port.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Reads such a place. A host's name is looked up here and now: its first address counts.
///
/// # Errors
/// When it has no such form, or nobody knows the host.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    let advice = "is no place to listen: it is like 127.0.0.1:8080, [::1]:8080 or localhost:8080";
    found.map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} {advice}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_have_addresses_or_names() {
        for (text, expected) in [("127.0.0.1:1", "127.0.0.1:1"), ("[::1]:2", "[::1]:2")] {
            assert_eq!(read(json!(text)).unwrap(), Some(expected.parse().unwrap()));
        }
        let named = read(json!("localhost:3")).unwrap().unwrap();
        assert!(named.ip().is_loopback() && named.port() == 3);
        assert_eq!(read(json!(null)).unwrap(), None);
        for bad in ["", "localhost", ":1", "::1:x", "localhost:99999", "no such host:1"] {
            assert!(read(json!(bad)).is_err(), "{bad}");
        }
    }
}
