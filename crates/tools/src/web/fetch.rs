//! One fetch: name to address, address to connection, redirects within the host, and a body in bounds.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::{
    WebSettings,
    body::{Body, Coding},
    network::{Network, Stream},
    target::{Refused, Target},
};
use crate::trust;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// Bytes of an answer's head, and lines of it.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 100;
/// What is said of who asks.
const AGENT: &str = concat!("moongate/", env!("CARGO_PKG_VERSION"));
/// What can be shown.
const ACCEPT: &str = "text/html, text/markdown, text/plain, application/json, text/*;q=0.9, */*;q=0.1";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    /// It is not asked for.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// No connection.
    #[error("there is no connection: {0}")]
    Connect(io::Error),
    /// No answer, or half a one, or one that is no HTTP.
    #[error("there is no proper answer: {0}")]
    Answer(#[from] hyper::Error),
    /// Redirect after redirect.
    #[error("it redirects more than {REDIRECTS} times")]
    Redirects,
    /// A redirect from https to http.
    #[error("it redirects from https to http")]
    Downgrade,
    /// The body is coded in a way that was not asked for, or not as it says.
    #[error("its body cannot be decoded")]
    Coding,
    /// The request cannot be written down.
    #[error("it cannot be asked for: {0}")]
    Request(#[from] http::Error),
}

/// What was answered.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body was longer.
    pub(super) is_cut: bool,
}

/// How a fetch ends that is not refused.
pub(super) enum Fetched {
    /// With an answer.
    Answer(Answer),
    /// With a redirect to another host, which nobody was asked about.
    Elsewhere(String),
}

/// Fetches; the time it may take is the caller's to bound.
pub(super) async fn fetch(
    mut target: Target,
    settings: &WebSettings,
    network: &dyn Network,
) -> Result<Fetched, FetchFault> {
    // Once: a name that leads elsewhere the second time is not asked a second time.
    let found = match target.literal() {
        Some(address) => vec![address],
        None => network.resolve(target.host()).await.map_err(FetchFault::Connect)?,
    };
    for _ in 0..=REDIRECTS {
        let address = target.choose(&found, settings)?;
        let (response, connection) = ask(&target, address, network).await?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location.filter(|_| response.status().is_redirection()) else {
            return read(&target, response, connection, settings).await.map(Fetched::Answer);
        };
        let next = target.redirect(location, settings)?;
        if target.is_secure() && !next.is_secure() {
            return Err(FetchFault::Downgrade);
        }
        if next.host() != target.host() {
            return Ok(Fetched::Elsewhere(next.url().to_string()));
        }
        target = next;
    }
    Err(FetchFault::Redirects)
}

type Connection = http1::Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>;

async fn ask(
    target: &Target,
    address: SocketAddr,
    network: &dyn Network,
) -> Result<(Response<Incoming>, Option<Connection>), FetchFault> {
    let plain = network.connect(address).await.map_err(FetchFault::Connect)?;
    let stream = if target.is_secure() { secure(target, plain).await? } else { plain };
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await?;
    let url = target.url();
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let host = url.port().map_or_else(
        || url.host_str().unwrap_or_default().to_owned(),
        |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
    );
    // Nothing of the gateway or of who asks goes along: no cookie, no key, no page it came from.
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, ACCEPT)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONNECTION, "close")
        .body(Empty::new())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let mut open = true;
    loop {
        tokio::select! {
            response = &mut answer => return Ok((response?, open.then_some(connection))),
            ended = &mut connection, if open => {
                ended?;
                open = false;
            }
        }
    }
}

async fn read(
    target: &Target,
    response: Response<Incoming>,
    mut connection: Option<Connection>,
    settings: &WebSettings,
) -> Result<Answer, FetchFault> {
    let (head, mut incoming) = response.into_parts();
    let coding = Coding::of(&head.headers).ok_or(FetchFault::Coding)?;
    let mut body = Body::new(coding, settings.max_bytes);
    while !body.is_full() {
        let frame = match &mut connection {
            None => incoming.frame().await,
            Some(open) => tokio::select! {
                frame = incoming.frame() => frame,
                ended = open => {
                    ended?;
                    connection = None;
                    continue;
                }
            },
        };
        let Some(frame) = frame else { break };
        if let Ok(piece) = frame?.into_data() {
            body.add(&piece).map_err(|_| FetchFault::Coding)?;
        }
    }
    let (body, is_cut) = body.finish().map_err(|_| FetchFault::Coding)?;
    Ok(Answer { url: target.url().to_string(), status: head.status, headers: head.headers, body, is_cut })
}

async fn secure(target: &Target, plain: Box<dyn Stream>) -> Result<Box<dyn Stream>, FetchFault> {
    let unsupported = || FetchFault::Connect(io::ErrorKind::Unsupported.into());
    let trust = tokio::task::spawn_blocking(trust::machine).await.ok().flatten().ok_or_else(unsupported)?;
    let name = ServerName::try_from(target.host().to_owned()).map_err(|_| unsupported())?;
    let stream = TlsConnector::from(trust).connect(name, plain).await.map_err(FetchFault::Connect)?;
    Ok(Box::new(stream))
}
