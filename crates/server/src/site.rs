//! The names a server answers to, and the pages that may talk to it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use moongate_protocol::ErrorCode;

use crate::{
    address::Network,
    reply::{Answer, Failure},
};

/// Names that always mean this machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What is allowed in `Host` and `Origin`.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    hosts: Vec<String>,
    origins: Vec<String>,
    trusted: Vec<Network>,
}

impl Site {
    /// A site of these names and pages, behind these proxies.
    pub(crate) fn new(hosts: &[String], origins: &[String], trusted: Vec<Network>) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self { hosts: lower(hosts), origins: lower(origins), trusted }
    }

    /// Its own pages, as a browser names them when it loaded them from this listener.
    pub(crate) fn add_listener(&mut self, local: SocketAddr, tls: bool) {
        let scheme = if tls { "https" } else { "http" };
        let port = local.port();
        if !local.ip().is_unspecified() {
            self.hosts.push(match local.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            });
        }
        let own = LOOPBACK.iter().map(|host| format!("{scheme}://{host}:{port}"));
        let named = self.hosts.iter().flat_map(|host| {
            // Behind a proxy or on the default port the origin has no port.
            [format!("https://{host}"), format!("{scheme}://{host}:{port}")]
        });
        let all: Vec<_> = own.chain(named).collect();
        self.origins.extend(all);
    }

    /// The proxies whose word about addresses counts.
    pub(crate) fn trusted(&self) -> &[Network] {
        &self.trusted
    }

    /// Refuses a request that was meant for another name: a page whose name was pointed at this machine.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Answer<()> {
        let refused = || Failure::new(ErrorCode::Misdirected, "this server does not answer to that name");
        let mut values = headers.get_all(header::HOST).iter();
        let (host, second) = (values.next(), values.next());
        let host = host.map(|value| value.to_str().map_err(|_| refused())).transpose()?;
        let target = uri.authority().map(Authority::as_str);
        let names = [host, target];
        let mut known = names.iter().flatten().map(|name| self.answers_to(name));
        let any = host.is_some() || target.is_some();
        if any && second.is_none() && known.all(|known| known) { Ok(()) } else { Err(refused()) }
    }

    /// Refuses a page that is not allowed. A program sends no origin.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Answer<()> {
        if !headers.contains_key(header::ORIGIN) || self.page(headers).is_some() {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::Forbidden, "pages of this origin may not talk to this server"))
    }

    /// The origin of the page a request came from, where it is allowed.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let origin = values.next().filter(|_| values.next().is_none())?;
        self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    fn answers_to(&self, authority: &str) -> bool {
        // An authority without user information: `name`, `name:port`, `[v6]`, `[v6]:port`.
        let name = match authority.rfind(':') {
            Some(at) if !authority.ends_with(']') => {
                let (name, port) = (&authority[..at], &authority[at + 1..]);
                if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
                    return false;
                }
                name
            }
            _ => authority,
        };
        LOOPBACK.iter().any(|known| name.eq_ignore_ascii_case(known))
            || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let mut site = Site::new(&["Gate.example".into()], &["https://ui.example".into()], Vec::new());
        site.add_listener("192.0.2.7:8137".parse().unwrap(), false);
        site
    }

    fn host(site: &Site, hosts: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, http::HeaderValue::from_bytes(host).unwrap());
        }
        site.check_host(&"/x".parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn only_its_own_names_are_answered_to() {
        let site = site();
        let good = [
            "localhost",
            "LOCALHOST:8137",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8137",
            "gate.example",
            "GATE.example:443",
            "192.0.2.7:8137",
        ];
        for name in good {
            assert!(host(&site, &[name.as_bytes()]), "{name}");
        }
        let bad = [
            "",
            "evil.example",
            "localhost.evil.example",
            "gate.example.evil",
            "evil-gate.example",
            "localhost.",
            "127.0.0.2",
            "0.0.0.0",
            "[::]",
            "::1",
            "0x7f000001",
            "2130706433",
            "127.1",
            "user@localhost",
            "localhost@evil.example",
            "localhost:80:80",
            "localhost:",
            "localhost:x",
            "localhost:99999999",
            "localhost#evil",
            "localhost/evil",
            "localhost,evil",
            "localhost evil",
            "[::1",
            "::1]",
            "[::ffff:127.0.0.1]",
        ];
        for name in bad {
            assert!(!host(&site, &[name.as_bytes()]), "{name}");
        }
        assert!(!host(&site, &[]));
        assert!(!host(&site, &[b"localhost", b"localhost"]));
        assert!(!host(&site, &[b"localh\xc3\xb6st"]));
        let absolute: Uri = "http://evil.example/x".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(site.check_host(&absolute, &headers).is_err());
    }

    #[test]
    fn only_listed_origins_pass() {
        let site = site();
        let check = |origins: &[&str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(header::ORIGIN, origin.parse().unwrap());
            }
            site.check_origin(&headers).is_ok()
        };
        assert!(check(&[]));
        let good = [
            "https://ui.example",
            "http://localhost:8137",
            "http://127.0.0.1:8137",
            "http://[::1]:8137",
            "https://gate.example",
            "http://gate.example:8137",
        ];
        for origin in good {
            assert!(check(&[origin]), "{origin}");
        }
        let hosts = ["localhost", "127.0.0.1", "ui.example", "gate.example"];
        let mut bad: Vec<String> = [
            "null",
            "",
            "*",
            "file://",
            "https://ui.example/",
            "https://ui.example:444",
            "http://ui.example",
            "https://UI.example",
            "https://ui.example.evil",
            "https://evil-ui.example",
            "https://ui.example ",
            "http://localhost",
            "http://localhost:81370",
            "https://localhost:8137",
            "http://localhost:8138",
            "http://user@localhost:8137",
            "http://localhost.evil:8137",
            "http://localhost:8137@evil.example",
            "http://0.0.0.0:8137",
            "http://[::ffff:127.0.0.1]:8137",
            "chrome-extension://ui.example",
            "https://ui.example\u{2e}evil",
            "https://ui%2eexample",
        ]
        .map(str::to_owned)
        .into();
        for host in hosts {
            for wrap in [
                "https://evil-{}",
                "https://{}.evil.example",
                "ftp://{}:8137",
                "http://{}:8136",
                "//{}",
                "{}",
                "http://{}:8137/x",
                "http://{}:8137?x",
                "http://{}:8137#x",
            ] {
                bad.push(wrap.replace("{}", host));
            }
        }
        for origin in &bad {
            assert!(!check(&[origin]), "{origin}");
        }
        assert!(!check(&["https://ui.example", "https://ui.example"]));
    }
}
