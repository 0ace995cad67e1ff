//! HTTP for the command line: one connection a request, bounded in time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::exit::Failure;

/// Time to reach the server.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for an answer to begin.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest answer that is held in memory.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody answers there.
    #[error("{0}")]
    Unreachable(String),
    /// The answer broke off or is none.
    #[error("{0}")]
    Broken(String),
    /// The server said no.
    #[error("{message} ({code})")]
    Refused {
        /// From the closed table.
        code: String,
        /// In words.
        message: String,
    },
}

impl CallError {
    /// Whether the server cannot be reached now, and may be later.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) => true,
            Self::Refused { code, .. } => code == moongate_protocol::ErrorCode::Unavailable.as_str(),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(_) => Self::NoServer(error.to_string()),
            CallError::Broken(_) | CallError::Refused { .. } => Self::Failed(error.to_string()),
        }
    }
}

/// The body of every refusal.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorInfo,
}

#[derive(Deserialize)]
struct ErrorInfo {
    code: String,
    message: String,
}

/// A server and the key to show it.
#[derive(Clone)]
pub(crate) struct Http {
    /// Scheme, host and port.
    base: Arc<str>,
    host: Arc<str>,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    key: Arc<SecretString>,
}

/// An answer whose body is still arriving.
pub(crate) struct Answer {
    pub(crate) body: Incoming,
    pub(crate) status: u16,
    _connection: AbortOnDropHandle<()>,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| CallError::Broken(format!("the connection broke: {error}")))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body.
    pub(crate) async fn bytes(self) -> Result<Bytes, CallError> {
        let whole = Limited::new(self.body, MAX_BODY).collect().await;
        let whole = whole.map_err(|error| CallError::Broken(format!("the answer broke off: {error}")))?;
        Ok(whole.to_bytes())
    }
}

/// What a call asks for.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// From the root, with the query.
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Bytes,
}

impl Http {
    /// A server by its address.
    ///
    /// # Errors
    /// When the text is no address.
    pub(crate) fn new(
        url: &str,
        key: SecretString,
        trust: impl FnOnce() -> Arc<ClientConfig>,
    ) -> Result<Self, Failure> {
        let wrong =
            || Failure::Usage(format!("{url:?} is no server's address: it is like http://127.0.0.1:8137"));
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let (scheme, authority) = (uri.scheme().ok_or_else(wrong)?, uri.authority().ok_or_else(wrong)?);
        let secure = *scheme == Scheme::HTTPS;
        if (!secure && *scheme != Scheme::HTTP) || uri.path().len() > 1 || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            base: format!("{scheme}://{authority}").into(),
            host: host.into(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            tls: secure.then(trust),
            key: Arc::new(key),
        })
    }

    /// Scheme, host and port.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Makes a call and waits until its answer begins.
    ///
    /// # Errors
    /// When the server cannot be reached, or says no.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Answer, CallError> {
        let request = self.request(call)?;
        let unreachable = |reason: &dyn std::fmt::Display| {
            CallError::Unreachable(format!("no server answers at {}: {reason}", self.base))
        };
        let (mut sender, connection) = match timeout(CONNECT, self.connect()).await {
            Ok(connected) => connected.map_err(|reason| unreachable(&reason))?,
            Err(_) => return Err(unreachable(&"it took too long")),
        };
        let answer = match timeout(ANSWER, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(|error| CallError::Broken(format!("no answer: {error}")))?,
            Err(_) => return Err(CallError::Broken("no answer in time".into())),
        };
        check(answer, connection).await
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, CallError> {
        let authority = self.base.split_once("://").map_or("", |(_, authority)| authority);
        let mut request =
            Request::builder().method(call.method).uri(call.path).header(header::HOST, authority);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let bad = |_| CallError::Broken("the request cannot be sent as it is".into());
        let mut request = request.body(Full::new(call.body)).map_err(bad)?;
        let bearer = format!("Bearer {}", self.key.expose_secret());
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| CallError::Broken("the key holds characters that cannot be sent".into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Ok(request)
    }

    async fn connect(&self) -> Result<(http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), String> {
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return shake(TokioIo::new(stream)).await };
        let name = ServerName::try_from(self.host.to_string()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        shake(TokioIo::new(stream)).await
    }
}

type Shaken = (http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>);

async fn shake<T>(io: T) -> Result<Shaken, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
    // A connection that breaks is seen by whoever reads the answer.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

async fn check(answer: Response<Incoming>, connection: AbortOnDropHandle<()>) -> Result<Answer, CallError> {
    let status = answer.status();
    let answer = Answer { body: answer.into_body(), status: status.as_u16(), _connection: connection };
    if status.is_success() {
        return Ok(answer);
    }
    let body = timeout(ANSWER, answer.bytes()).await.unwrap_or_else(|_| Ok(Bytes::new()))?;
    let refused = serde_json::from_slice::<ErrorBody>(&body).ok();
    Err(refused.map_or_else(
        || CallError::Broken(format!("the server answered {status}; is it Moongate?")),
        |body| CallError::Refused { code: body.error.code, message: body.error.message },
    ))
}
