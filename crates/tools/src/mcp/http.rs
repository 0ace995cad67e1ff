//! HTTP to servers elsewhere: what the SDK's streamable HTTP asks of a client. Each request has a connection of its
//! own: one that was kept open may be gone when the next request is sent, and then nobody knows whether that arrived.
//! No redirect is followed: the operator named this server and no other.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, BodyStream, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rmcp::{
    model::{ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_client::{
        HttpStatusError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::{Error as SseError, Sse, SseStream};
use tokio::{task::JoinSet, time::timeout};

use super::{event_size::EventSize, settings::Address, tls};

/// For a connection to open.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that is one JSON text, and of one event of a stream.
pub(super) const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 64 * 1024;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Sends requests to one server.
#[derive(Clone, Debug)]
pub(super) struct Http(Arc<Address>);

/// What can go wrong on the way.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpFault {
    /// Nothing was sent.
    #[error("it cannot be reached: {0}")]
    Connect(io::Error),
    /// Something was sent, perhaps all of it.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer is longer than anybody reads, or broke off.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

type Fault = StreamableHttpError<HttpFault>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// An answer, and what keeps its connection going.
struct Answer {
    response: Response<Incoming>,
    connection: JoinSet<()>,
}

impl Http {
    pub(super) fn new(address: &Address) -> Self {
        Self(Arc::new(address.clone()))
    }

    async fn send(&self, mut request: Request<Full<Bytes>>, headers: Headers) -> Result<Answer, Fault> {
        let address = &self.0;
        let target = address.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = target.parse().map_err(|_| not_sent(io::ErrorKind::InvalidInput))?;
        let host =
            address.uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
        let sent = request.headers_mut();
        sent.extend(host.map(|host| (header::HOST, host)));
        sent.extend(address.headers.iter().cloned());
        for (name, value) in headers {
            sent.insert(name, value);
        }
        let stream = timeout(CONNECT, tls::connect(&address.uri)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| StreamableHttpError::Client(HttpFault::Connect(error)))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks here breaks the answer too, which says so.
            let _told = connection.await;
        });
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { response, connection: driver })
    }
}

impl Answer {
    fn is(&self, kind: &str) -> bool {
        let said = self.response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        said.is_some_and(|said| said.trim_start().to_ascii_lowercase().starts_with(kind))
    }

    fn session(&self) -> Option<String> {
        self.response.headers().get(SESSION)?.to_str().ok().map(str::to_owned)
    }

    async fn read(self, most: usize) -> Result<Bytes, Fault> {
        let body = Limited::new(self.response.into_body(), most).collect().await;
        drop(self.connection);
        Ok(body.map_err(|error| StreamableHttpError::Client(HttpFault::Body(error)))?.to_bytes())
    }

    fn events(self) -> BoxStream<'static, Result<Sse, SseError>> {
        SseStream::from_bytes_stream(self.pieces()).boxed()
    }

    /// The body as it arrives, as long as its events have a reasonable size.
    fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let (connection, mut size) = (self.connection, EventSize::new(ANSWER_BYTES));
        BodyStream::new(self.response.into_body()).filter_map(move |frame| {
            // The connection lives as long as its answer.
            let _open = &connection;
            let piece = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) if size.takes(&data) => Some(Ok(data)),
                Ok(Ok(_)) => Some(Err(io::ErrorKind::FileTooLarge.into())),
                Ok(Err(_)) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            };
            std::future::ready(piece)
        })
    }
}

impl StreamableHttpClient for Http {
    type Error = HttpFault;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let body = serde_json::to_vec(&message)?;
        let request = Request::builder().method(Method::POST).header(header::CONTENT_TYPE, JSON);
        let request = with_session(request.header(header::ACCEPT, BOTH), session.as_deref());
        let request = request.body(Full::from(body)).map_err(|_| not_sent(io::ErrorKind::InvalidInput))?;
        let answer = self.send(request, headers).await?;
        read_post(answer, &message, session.is_some()).await
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        headers: Headers,
    ) -> Result<(), Fault> {
        let request = with_session(Request::builder().method(Method::DELETE), Some(&*session));
        let request = request.body(Full::default()).map_err(|_| not_sent(io::ErrorKind::InvalidInput))?;
        let status = self.send(request, headers).await?.response.status();
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(HttpStatusError::new(status.as_u16(), None).into()),
        }
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Fault> {
        let request = Request::builder().method(Method::GET).header(header::ACCEPT, EVENTS);
        let mut request = with_session(request, session.as_deref());
        if let Some(id) = last_event.and_then(|id| HeaderValue::try_from(id).ok()) {
            request = request.header(LAST_EVENT, id);
        }
        let request = request.body(Full::default()).map_err(|_| not_sent(io::ErrorKind::InvalidInput))?;
        let answer = self.send(request, headers).await?;
        match answer.response.status() {
            status if !status.is_success() && status.is_client_error() => {
                Err(StreamableHttpError::ServerDoesNotSupportSse)
            }
            status if !status.is_success() => Err(HttpStatusError::new(status.as_u16(), None).into()),
            _ if answer.is(EVENTS) => Ok(answer.events()),
            _ => Err(StreamableHttpError::UnexpectedContentType(None)),
        }
    }
}

fn with_session(request: http::request::Builder, session: Option<&str>) -> http::request::Builder {
    match session.and_then(|session| HeaderValue::from_str(session).ok()) {
        Some(session) => request.header(SESSION, session),
        None => request,
    }
}

fn not_sent(kind: io::ErrorKind) -> Fault {
    StreamableHttpError::Client(HttpFault::Connect(kind.into()))
}

fn broken(error: hyper::Error) -> Fault {
    StreamableHttpError::Client(HttpFault::Broken(error))
}

async fn read_post(
    answer: Answer,
    message: &ClientJsonRpcMessage,
    had_session: bool,
) -> Result<StreamableHttpPostResponse, Fault> {
    let status = answer.response.status();
    let asks = matches!(message, JsonRpcMessage::Request(_));
    if !status.is_success() {
        return refused(answer, message, had_session).await;
    }
    if !asks || matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
        return Ok(StreamableHttpPostResponse::Accepted);
    }
    let session = answer.session();
    if answer.is(EVENTS) {
        return Ok(StreamableHttpPostResponse::Sse(answer.events(), session));
    }
    if !answer.is(JSON) {
        return Err(StreamableHttpError::UnexpectedContentType(None));
    }
    let body = answer.read(ANSWER_BYTES).await?;
    Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session))
}

/// A refusal: its JSON-RPC error where it has one, else its status.
async fn refused(
    answer: Answer,
    message: &ClientJsonRpcMessage,
    had_session: bool,
) -> Result<StreamableHttpPostResponse, Fault> {
    let status = answer.response.status();
    if status == StatusCode::NOT_FOUND && had_session {
        return Err(StreamableHttpError::SessionExpired);
    }
    let plain = || Err(HttpStatusError::new(status.as_u16(), None).into());
    let is_closed = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let JsonRpcMessage::Request(request) = message else { return plain() };
    if is_closed {
        return plain();
    }
    let body = answer.read(REFUSAL_BYTES).await?;
    let error = match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
        Ok(JsonRpcMessage::Error(error)) => error.error,
        // A server of the era before `server/discover` refuses it in its own way.
        _ if status.is_client_error() && matches!(request.request, ClientRequest::DiscoverRequest(_)) => {
            ErrorData::invalid_request(format!("refused with status {}", status.as_u16()), None)
        }
        _ => return plain(),
    };
    let refusal = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
    Ok(StreamableHttpPostResponse::Json(refusal, None))
}
