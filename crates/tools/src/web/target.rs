//! An address that may be asked for, read once: what is checked is what is asked.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::{WebSettings, address::is_public};

/// Bytes of an address.
const URL_BYTES: usize = 8 * 1024;
/// The ports of http and https.
const USUAL_PORTS: [u16; 2] = [80, 443];
/// Addresses of one name that are looked at.
const ADDRESSES: usize = 32;

/// Why an address is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It is no web address.
    #[error("it is no address such as https://example.com/page")]
    NoUrl,
    /// Another scheme.
    #[error("only http and https can be fetched")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it must not hold a user name or a password")]
    Credentials,
    /// A port nobody allowed.
    #[error("port {0} is not allowed; the operator can allow it in [tools.web] ports")]
    Port(u16),
    /// The name leads into somebody's own network.
    #[error("{0} is not on the public internet; the operator can allow it in [tools.web] allow_private")]
    Private(String),
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
}

/// An address that may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: Url,
    /// In lower case, without brackets.
    host: String,
    /// When it is an address itself.
    literal: Option<IpAddr>,
    port: u16,
}

impl Target {
    /// Reads an address. Numbers in all their spellings become addresses here (WHATWG URL), and nowhere else.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub(super) fn read(text: &str, settings: &WebSettings) -> Result<Self, Refused> {
        if text.len() > URL_BYTES {
            return Err(Refused::NoUrl);
        }
        Self::check(Url::parse(text).map_err(|_| Refused::NoUrl)?, settings)
    }

    /// Where a redirect from here leads.
    ///
    /// # Errors
    /// With what is wrong with that.
    pub(super) fn redirect(&self, location: &str, settings: &WebSettings) -> Result<Self, Refused> {
        if location.len() > URL_BYTES {
            return Err(Refused::NoUrl);
        }
        Self::check(self.url.join(location).map_err(|_| Refused::NoUrl)?, settings)
    }

    fn check(mut url: Url, settings: &WebSettings) -> Result<Self, Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let port = url.port_or_known_default().ok_or(Refused::NoUrl)?;
        if !USUAL_PORTS.contains(&port) && !settings.ports.contains(&port) {
            return Err(Refused::Port(port));
        }
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.to_ascii_lowercase(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return Err(Refused::NoUrl),
        };
        url.set_fragment(None);
        Ok(Self { url, host, literal, port })
    }

    /// The host, in lower case, without its port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// When the host is an address itself, that.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    /// Whether the way there is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The whole address.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The first of the host's addresses. A name that has one that is not public has none: it is made to change.
    ///
    /// # Errors
    /// When one of them is not public and the operator did not allow the host, or there is none.
    pub(super) fn choose(&self, found: &[IpAddr], settings: &WebSettings) -> Result<SocketAddr, Refused> {
        let found = &found[..found.len().min(ADDRESSES)];
        let first = found.first().ok_or_else(|| Refused::NoAddress(self.host.clone()))?;
        if !settings.allow_private.contains(&self.host) && !found.iter().copied().all(is_public) {
            return Err(Refused::Private(self.host.clone()));
        }
        Ok(SocketAddr::new(*first, self.port))
    }
}
