//! What every request passes before any route sees it, and every reply before it leaves.

use std::{net::IpAddr, panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts};
use moongate_protocol::ErrorCode;
use percent::decoded;

use crate::{
    App,
    address::{self, NO_PEER, Peer},
    door::shared::{Cors, cors},
    keys,
    limits::{HEADER_BYTES, URL_BYTES},
    reply::{Answer, Failure},
};

/// Names under which credentials get into URLs, and from there into logs and histories.
const CREDENTIAL_NAMES: &[&str] = &[
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "credential",
    "key",
    "password",
    "secret",
    "token",
    "x-api-key",
];

/// What pages of the origins in `[server] origins` may send and read.
const CORS: Cors = Cors {
    methods: "GET, POST, PATCH, DELETE",
    headers: "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer",
    exposes: "Preference-Applied, Retry-After",
};

/// The guard of all routes that need a key.
pub(crate) async fn guarded(State(app): State<App>, request: Request, next: Next) -> Response {
    pass(app, request, next, true).await
}

/// The guard of the frozen public list.
pub(crate) async fn public(State(app): State<App>, request: Request, next: Next) -> Response {
    pass(app, request, next, false).await
}

async fn pass(app: App, mut request: Request, next: Next, authenticates: bool) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let page = app.site().page(request.headers());
    // A page asks before it sends its key.
    let preflight = page.is_some() && cors::is_preflight(&method, request.headers());
    let admitted = match admit(&app, &mut request, authenticates && !preflight).await {
        Ok(()) if preflight => Ok(CORS.preflight()),
        Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.map_err(|_| {
            // The panic's own message went to the log by the panic hook.
            Failure::new(ErrorCode::Internal, "something failed inside; the server's log says more")
        }),
        Err(failure) => Err(failure),
    };
    let mut response = admitted.unwrap_or_else(Failure::into_response);
    if let Some(page) = page {
        CORS.mark(response.headers_mut(), page);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    finish(response.headers_mut(), app.is_tls());
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    app.metrics().request(route, &method, response.status(), began.elapsed());
    response
}

async fn admit(app: &App, request: &mut Request, authenticates: bool) -> Answer<()> {
    check_size(request)?;
    app.site().check_host(request.uri(), request.headers())?;
    app.site().check_origin(request.headers())?;
    check_url(request.uri())?;
    let peer = request.extensions().get::<Peer>().map_or(NO_PEER, |peer| peer.address);
    let client = address::client(peer, request.headers(), app.site().trusted());
    request.extensions_mut().insert(Client(client));
    if !authenticates {
        return Ok(());
    }
    let asked = (request.method(), request.headers());
    let caller = app.callers().authenticate(asked, client, app.gateway().ids().now()).await?;
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Where a request came from, proxies seen through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let none = || Failure::new(ErrorCode::Internal, "a route outside of the guard asks for its client");
        parts.extensions.get::<Self>().copied().ok_or_else(none)
    }
}

pub(crate) fn check_size(request: &Request) -> Answer<()> {
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADER_BYTES {
        let message = format!("the headers have at most {HEADER_BYTES} bytes");
        return Err(Failure::new(ErrorCode::HeadersTooLarge, message));
    }
    let url = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if url > URL_BYTES {
        return Err(Failure::new(
            ErrorCode::HeadersTooLarge,
            format!("the URL has at most {URL_BYTES} bytes"),
        ));
    }
    Ok(())
}

/// Refuses a URL that carries a credential: URLs are logged, remembered and passed on.
fn check_url(uri: &Uri) -> Answer<()> {
    let refused = || Failure::invalid("a URL carries no credential: send Authorization: Bearer mg_…");
    let is_key = |text: &str| {
        let text = decoded(text);
        keys::PREFIXES.iter().any(|prefix| text.contains(prefix))
    };
    if uri.path().contains(['%', '_']) && is_key(uri.path()) {
        return Err(refused());
    }
    for pair in uri.query().unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).to_ascii_lowercase();
        if CREDENTIAL_NAMES.contains(&name.as_str()) || is_key(&name) || is_key(value) {
            return Err(refused());
        }
    }
    Ok(())
}

/// Headers of every reply. A route's own choice stays.
pub(crate) fn finish(headers: &mut HeaderMap, tls: bool) {
    let always = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    headers.reserve(always.len() + 2);
    for (name, value) in always {
        headers.entry(name).or_insert(value);
    }
    if tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(year);
    }
}

pub(crate) mod percent {
    //! Percent-decoding, as often as somebody may have encoded.

    use std::borrow::Cow;

    /// The text without percent-encoding; what is not valid stays as it is.
    pub(super) fn decoded(text: &str) -> Cow<'_, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..3 {
            if !text.contains('%') {
                break;
            }
            text = Cow::Owned(once(&text));
        }
        text
    }

    /// The text with percent-encoding undone once.
    pub(crate) fn once(text: &str) -> String {
        String::from_utf8_lossy(&bytes(text)).into_owned()
    }

    /// The bytes a percent-encoded text stands for.
    pub(crate) fn bytes(text: &str) -> Vec<u8> {
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let encoded = if byte == b'%' { pair(bytes.get(at + 1..at + 3)) } else { None };
            out.push(encoded.unwrap_or(byte));
            at += if encoded.is_some() { 3 } else { 1 };
        }
        out
    }

    /// The byte two hexadecimal digits stand for; a sign is none.
    fn pair(digits: Option<&[u8]>) -> Option<u8> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match digits? {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_a_url_is_seen_however_it_is_written() {
        let bad = [
            "/api/v1/sessions?token=x",
            "/api/v1/sessions?a=b&Api_Key=x",
            "/api/v1/sessions?%74oken=x",
            "/api/v1/sessions?q=mg_api_abc",
            "/api/v1/sessions?q=%6dg_api_abc",
            "/api/v1/sessions?q=%256dg_api_abc",
            "/api/v1/mg_adm_x/sessions",
            "/api/v1/%6d%67%5fadm_x",
            "/ws?access_token",
        ];
        for bad in bad {
            assert!(check_url(&bad.parse().unwrap()).is_err(), "{bad}");
        }
        for (text, decoded) in [
            ("%41%4a%4A", "AJJ"),
            ("%+1%-1% 1%1", "%+1%-1% 1%1"),
            ("%%41%4", "%A%4"),
            ("%e2%82%ac+", "\u{20ac}+"),
        ] {
            assert_eq!(percent::once(text), decoded, "{text}");
        }
        for good in ["/", "/api/v1/keys/key_0", "/api/v1/sessions?q=omg_monkey&limit=3", "/a%20b?cursor=x%"] {
            assert!(check_url(&good.parse().unwrap()).is_ok(), "{good}");
        }
    }
}
