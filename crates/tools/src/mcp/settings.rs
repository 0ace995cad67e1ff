//! What an operator says about one MCP server.

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};
use secrecy::SecretString;

/// Longest name of a server: a tool's name is the server's, two underscores and its own, 64 bytes at most.
const NAME_BYTES: usize = 32;
/// What stands between a server's name and its tool's.
pub(super) const BETWEEN: &str = "__";

/// One MCP server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// What the operator calls it.
    pub name: String,
    /// How it is reached.
    pub link: Link,
    /// The tools that are taken over, by the server's own names; all when absent.
    pub only: Option<Vec<String>>,
    /// Whether what the server says of its tools' effects is believed.
    pub trust_annotations: bool,
    /// How long it may take to start, and to say which tools it has.
    pub start: Duration,
    /// How long one call may take.
    pub call: Duration,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Link {
    /// A program that is started here and spoken to through its standard streams.
    Stdio(Program),
    /// A server elsewhere, spoken to with streamable HTTP.
    Http(Address),
}

/// A program to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// What to start: a name on the search path, or a path.
    pub command: String,
    /// With which arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, SecretString)>,
    /// The folder it starts in.
    pub folder: PathBuf,
}

/// A server elsewhere.
#[derive(Clone)]
pub struct Address {
    /// Scheme, host, and path.
    pub(super) uri: Uri,
    /// Sent with every request.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a text is no server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// It is no absolute address.
    #[error("it is not an absolute address such as https://mcp.example.com/mcp")]
    NotAbsolute,
    /// Another scheme than http or https.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it must not hold a user name or a password")]
    Credentials,
}

impl Address {
    /// The address a text names, with headers for every request.
    ///
    /// # Errors
    /// When the text is none.
    pub fn new(url: &str, headers: Vec<(HeaderName, HeaderValue)>) -> Result<Self, AddressFault> {
        let uri: Uri = url.trim().parse().map_err(|_| AddressFault::NotAbsolute)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(AddressFault::NotAbsolute);
        };
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(AddressFault::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(AddressFault::Credentials);
        }
        if authority.host().is_empty() {
            return Err(AddressFault::NotAbsolute);
        }
        let headers = headers.into_iter().map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Ok(Self { uri, headers: headers.collect() })
    }
}

/// Without the query, which may hold a key.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.uri.scheme_str(), self.uri.authority());
        let authority = authority.map_or("", http::uri::Authority::as_str);
        write!(f, "{}://{authority}{}", scheme.unwrap_or_default(), self.uri.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ServerSettings {
    /// How long a server may take to start where nobody says otherwise: a program that is fetched first takes long.
    pub const START: Duration = Duration::from_secs(30);
    /// How long a call may take where nobody says otherwise.
    pub const CALL: Duration = Duration::from_secs(120);

    /// Whether a server may be called that.
    pub fn is_name(text: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        !text.is_empty() && text.len() <= NAME_BYTES && text.chars().all(plain) && !text.contains(BETWEEN)
    }

    /// What its tools' names begin with.
    pub fn prefix(name: &str) -> String {
        format!("{name}{BETWEEN}")
    }
}
