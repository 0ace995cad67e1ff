//! Reading JSON bodies: bounded before they are buffered, strict in form, precise about what is wrong.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use moongate_protocol::ErrorCode;
use serde::de::{Deserialize, DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use crate::{
    App,
    limits::{BODY_RATE, FILE_BODY_BYTES, JSON_BODY_BYTES},
    objects,
    reply::{Answer, Failure},
    strict,
};

/// A JSON body of at most [`JSON_BODY_BYTES`].
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Answer<Self> {
        require_json(request.headers())?;
        let bytes = read(request.into_body(), JSON_BODY_BYTES, app).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body, or none at all.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Answer<Self> {
        // Also without a body: a page of another origin cannot send this type without being asked.
        require_json(request.headers())?;
        let bytes = read(request.into_body(), JSON_BODY_BYTES, app).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

/// The bytes of a JSON body whose parts may carry files; the caller parses them.
pub(crate) struct FileJson(pub(crate) Bytes);

impl FromRequest<App> for FileJson {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Answer<Self> {
        require_json(request.headers())?;
        read(request.into_body(), FILE_BODY_BYTES, app).await.map(Self)
    }
}

/// Parses a body into a typed request: no unknown or repeated names, no deep nesting, no list in
/// the place of an object.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Answer<T> {
    strict::check(bytes).map_err(|error| Failure::invalid(format!("the body is not acceptable: {error}")))?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::invalid("the body is not acceptable: it is not an object"));
    }
    if let Ok(value) = objects::read(&mut serde_json::Deserializer::from_slice(bytes)) {
        return Ok(value);
    }
    // Once more, slower, to say where it is wrong.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    objects::read(tracked).map_err(|error| {
        let field = track.path().to_string();
        let message = format!("the body is not acceptable: {error}");
        if field == "." { Failure::invalid(message) } else { Failure::field(field, message) }
    })
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(mut body: Body, limit: usize, app: &App) -> Answer<Bytes> {
    let too_large = || Failure::new(ErrorCode::TooLarge, format!("the body has at most {limit} bytes"));
    if usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX) > limit {
        return Err(too_large());
    }
    let stall = app.limits().body_stall;
    let began = Instant::now();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let arrived = (first.len() + all.len()) as u64;
        let due = began + stall + Duration::from_secs(arrived / BODY_RATE);
        let Ok(frame) = timeout_at(due.min(Instant::now() + stall), body.frame()).await else {
            return Err(Failure::invalid(format!(
                "the body did not arrive: it is too slow, or stopped for {} s",
                stall.as_secs()
            )));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Failure::invalid("the body ended before it was complete"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            // Most bodies are one piece and are never copied.
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Only JSON is read: a form of another origin's page cannot send this type.
pub(crate) fn require_json(headers: &HeaderMap) -> Answer<()> {
    require_type(headers, "application/json")
}

/// Refuses a body of any other media type.
pub(crate) fn require_type(headers: &HeaderMap, wanted: &str) -> Answer<()> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (values.next().and_then(|value| value.to_str().ok()), values.next());
    let essence = first.map(|text| text.split(';').next().unwrap_or_default().trim());
    if second.is_none() && essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::UnsupportedMediaType, format!("send content-type: {wanted}")))
}
