//! Networks, and where a request comes from.

use std::{
    any::Any,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use http::HeaderMap;
use moongate_protocol::ParseError;

/// A network in CIDR notation; a single address is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is in the network. An IPv4 address is the same in its IPv6 form.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (u32::from(net) ^ u32::from(ip)).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (u128::from(net) ^ u128::from(ip)).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether every address of `other` is in this network.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad =
            ParseError { kind: "network", reason: "it is an address, or address/bits as in 10.0.0.0/8" };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad.clone())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(bad)?
            }
            Some(_) => return Err(bad),
        };
        Ok(Self { address, bits })
    }
}

/// The other end of a connection; put into a request by the listener.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The connection's place among the open ones: a request that becomes a WebSocket keeps it.
    pub(crate) _place: Arc<dyn Any + Send + Sync>,
}

/// Where a request comes from that came by no socket.
pub(crate) const NO_PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The client's address: the peer's, or what a trusted proxy says it is.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut address = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !is_trusted(address) {
        return address;
    }
    // Each proxy adds the address it saw at the end: the last one no trusted proxy has is the client.
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in value.to_str().unwrap_or_default().rsplit(',') {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { return address };
            address = hop.to_canonical();
            if !is_trusted(address) {
                return address;
            }
        }
    }
    address
}

/// What failures and connections are counted by: one customer's IPv6 addresses share their first 64 bits.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_is_in_them() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
        ];
        for (network, address, expected) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0/8", "x", "10.0.0.0/8/8", "1.2.3.4/+8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let proxy: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            headers
        };
        let table = [
            ("10.0.0.1", vec!["203.0.113.9"], &proxy[..], "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1, 203.0.113.9, 10.0.0.2"], &proxy, "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1", "203.0.113.9"], &proxy, "203.0.113.9"),
            ("10.0.0.1", vec!["rubbish"], &proxy, "10.0.0.1"),
            ("10.0.0.1", vec![], &proxy, "10.0.0.1"),
            ("192.0.2.1", vec!["203.0.113.9"], &proxy, "192.0.2.1"),
            ("127.0.0.1", vec!["203.0.113.9"], &[], "127.0.0.1"),
        ];
        for (from, forwarded, trusted, expected) in table {
            let found = client(peer(from), &headers(&forwarded), trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{from} {forwarded:?}");
        }
    }
}
