//! A provider's base address.

use std::{fmt, str::FromStr, sync::Arc};

use http::{HeaderValue, Uri, uri::Scheme};

/// Where a provider is: scheme, host, port, and the path all its routes begin with.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    secure: bool,
    host: String,
    port: u16,
    authority: HeaderValue,
    path: String,
    query: Option<String>,
}

/// Why a text is not a provider's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFault {
    /// It is no absolute address.
    #[error("it is not an absolute address such as https://api.example.com/v1")]
    NotAbsolute,
    /// Another scheme than http or https.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it must not hold a user name or a password")]
    Credentials,
}

impl Endpoint {
    /// Whether the way there is encrypted.
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// The host, without brackets around an IPv6 address.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The `host` header.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    /// The request target of a route below the base address.
    pub(crate) fn target(&self, route: &str) -> Option<Uri> {
        let query = self.0.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("{}{route}{query}", self.0.path).parse().ok()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointFault;

    fn from_str(text: &str) -> Result<Self, EndpointFault> {
        let uri: Uri = text.trim().parse().map_err(|_| EndpointFault::NotAbsolute)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(EndpointFault::NotAbsolute);
        };
        let secure = *scheme == Scheme::HTTPS;
        if !secure && *scheme != Scheme::HTTP {
            return Err(EndpointFault::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(EndpointFault::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(EndpointFault::NotAbsolute);
        }
        Ok(Self(Arc::new(Parts {
            secure,
            host,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| EndpointFault::NotAbsolute)?,
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(str::to_owned),
        })))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        let scheme = if parts.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", parts.authority.to_str().unwrap_or_default(), parts.path)
    }
}

/// Without the query, which may hold a key.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_port_path_and_query() {
        for (text, host, port, target) in [
            ("https://api.example.com/v1/", "api.example.com", 443, "/v1/messages"),
            ("http://127.0.0.1:11434", "127.0.0.1", 11434, "/messages"),
            ("http://[::1]:8080/a/b", "::1", 8080, "/a/b/messages"),
            ("https://x.example/openai?api-version=2", "x.example", 443, "/openai/messages?api-version=2"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port));
            assert_eq!(endpoint.target("/messages").unwrap().to_string(), target);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, fault) in [
            ("", EndpointFault::NotAbsolute),
            ("api.example.com/v1", EndpointFault::NotAbsolute),
            ("/v1", EndpointFault::NotAbsolute),
            ("ftp://example.com", EndpointFault::Scheme),
            ("https://key:secret@example.com", EndpointFault::Credentials),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(fault), "{text}");
        }
    }
}
