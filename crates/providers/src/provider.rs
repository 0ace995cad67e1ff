//! One provider, ready to be called.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    anthropic,
    config::{Auth, ProviderConfig, Quirks, Timeouts, Wire},
    http::{Connector, Pool, Trust},
    retry::{RetryBudget, RetryPolicy},
};

/// What a provider's faulty configuration is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// The name cannot be the beginning of a model's name.
    #[error("provider {0:?}: a name has 1 to 64 letters, digits, '_', '-' or '.'")]
    Name(String),
    /// Two providers have the same name.
    #[error("provider {0:?}: there is another one of this name")]
    Duplicate(String),
    /// A header's name or value cannot be sent.
    #[error("provider {0:?}: the header {1:?} cannot be sent")]
    Header(String, String),
    /// The key cannot be sent.
    #[error("provider {0:?}: its key holds characters that cannot be sent")]
    Key(String),
    /// The address cannot be extended by the wire's route.
    #[error("provider {0:?}: its address cannot be used")]
    Address(String),
}

/// One provider, ready to be called: shared by all its models.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) wire: Wire,
    pub(crate) quirks: Quirks,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetryPolicy,
    pub(crate) budget: Arc<RetryBudget>,
    pub(crate) pool: Pool,
    pub(crate) connector: Connector,
    /// What reasoning signatures from here are marked with.
    pub(crate) mark: String,
    headers: HeaderMap,
    calls: Uri,
    models: Uri,
}

impl Provider {
    /// `trust` is how to trust its certificate; absent, the machine's roots are.
    pub(crate) fn new(config: &ProviderConfig, trust: Option<Trust>) -> Result<Self, ConfigFault> {
        let name = config.name.clone();
        let target = |route| config.endpoint.target(route).ok_or_else(|| ConfigFault::Address(name.clone()));
        Ok(Self {
            wire: config.wire,
            quirks: config.quirks,
            timeouts: config.timeouts,
            budget: Arc::new(RetryBudget::new()),
            retry: config.retry,
            pool: Pool::default(),
            mark: format!("{}:{name}", config.wire.as_str()),
            headers: headers(config)?,
            calls: target(config.wire.path())?,
            models: target("/models")?,
            connector: Connector::new(config.endpoint.clone(), trust),
            name,
        })
    }

    /// A model call with this body.
    pub(crate) fn call(&self, body: bytes::Bytes) -> Request<Full<bytes::Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.calls.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// A request for the list of models.
    pub(crate) fn list(&self) -> Request<Full<bytes::Bytes>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.models.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(header::CONTENT_TYPE);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request
    }
}

fn headers(config: &ProviderConfig) -> Result<HeaderMap, ConfigFault> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, config.endpoint.authority().clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("moongate/", env!("CARGO_PKG_VERSION"))),
    );
    if config.wire == Wire::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
    }
    if let Some(key) = &config.key {
        let (name, prefix) = match (config.quirks.auth, config.wire) {
            (Auth::Header(name), _) => (HeaderName::from_static(name), ""),
            (Auth::Usual, Wire::Anthropic) => (HeaderName::from_static("x-api-key"), ""),
            _ => (header::AUTHORIZATION, "Bearer "),
        };
        let value = secret(prefix, key).ok_or_else(|| ConfigFault::Key(config.name.clone()))?;
        headers.insert(name, value);
    }
    for (name, value) in &config.headers {
        let fault = || ConfigFault::Header(config.name.clone(), name.clone());
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| fault())?;
        headers.insert(parsed, secret("", value).ok_or_else(fault)?);
    }
    Ok(headers)
}

/// A header value that is never printed.
fn secret(prefix: &str, value: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", value.expose_secret().trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
