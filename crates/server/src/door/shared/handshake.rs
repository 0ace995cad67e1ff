//! The HTTP request that becomes a WebSocket.

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::reply::{Answer, Failure};

/// Characters of a handshake's key: 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// A request that becomes a WebSocket once `response` is sent.
pub(crate) struct Accepted {
    pub(crate) response: Response,
    pub(crate) upgrade: OnUpgrade,
}

/// Checks the handshake and prepares its answer. Of the subprotocols the client offers the first of `speaks` is
/// selected; where it offers none of them, none is.
///
/// # Errors
/// When the request does not become a WebSocket.
pub(crate) fn accept(request: &mut Request, speaks: &[&'static str]) -> Answer<Accepted> {
    let headers = request.headers();
    let refused = |why: &str| Failure::invalid(format!("this is a WebSocket: {why}"));
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(refused("send connection: upgrade and upgrade: websocket"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(refused("send sec-websocket-version: 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_CHARS);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::try_from(accept).ok());
    let accept = accept.ok_or_else(|| refused("send a sec-websocket-key"))?;
    let offered = |name: &&str| tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|token| token == *name);
    let selected = speaks.iter().copied().find(offered);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| refused("this connection cannot become one"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = response.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(selected) = selected {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(selected));
    }
    Ok(Accepted { response, upgrade })
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The entries of a header that lists.
pub(crate) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
