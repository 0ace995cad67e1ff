//! The web page: files that are part of the binary, and how a browser signs in.

mod files;
pub(crate) mod signin;

use axum::{
    extract::RawPathParams,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use moongate_protocol::ErrorCode;

use self::files::FILES;
use crate::{
    reply::{Answer, Failure},
    route::{Route, Shape},
};

/// A file of the page.
struct File {
    /// Its path beneath the root.
    path: &'static str,
    /// What it is.
    media_type: &'static str,
    /// A name for exactly these bytes.
    etag: &'static str,
    /// The bytes.
    body: &'static [u8],
    /// The bytes compressed with gzip, where that makes them fewer.
    packed: Option<&'static [u8]>,
}

/// What the page may do: load what this server has, talk to it, and nothing else. Nothing inline runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
                      style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The one document.
const INDEX: &str = "index.html";

/// The paths at which the page shows something: it reads them itself. Nothing else answers with the document.
const VIEWS: [&str; 9] = [
    "/",
    "/s/{session}",
    "/s/{session}/log",
    "/waiting",
    "/live",
    "/usage",
    "/setup",
    "/setup/{part}",
    "/signin/{code}",
];

pub(crate) fn routes() -> Vec<Route> {
    let html = Shape::Text("text/html");
    let view = |path| Route::get(path, get(document)).says("The web page").answers(200, html);
    let files = [
        Route::get("/assets/{file}", get(asset))
            .says("A part of the web page; its name changes with its content")
            .answers(200, Shape::Text("application/octet-stream")),
        Route::get("/favicon.svg", get(icon))
            .says("The web page's icon")
            .answers(200, Shape::Text("image/svg+xml")),
        Route::get("/signin", get(document)).says("The web page").answers(200, html),
        Route::post("/signin", post(signin::sign_in))
            .says("Sign a browser in: a cookie that no script can read")
            .json::<signin::SignInBody>()
            .answers(204, Shape::Empty)
            .refuses(&[ErrorCode::Unauthorized, ErrorCode::RateLimited, ErrorCode::Unavailable])
            .writes(),
    ];
    VIEWS.into_iter().map(view).chain(files).collect()
}

async fn document(headers: HeaderMap) -> Answer {
    let mut response = send(INDEX, &headers)?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

async fn icon(headers: HeaderMap) -> Answer {
    send("favicon.svg", &headers)
}

async fn asset(params: RawPathParams, headers: HeaderMap) -> Answer {
    let name = params.iter().next().map_or("", |(_, name)| name);
    let mut response = send(&format!("assets/{name}"), &headers)?;
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    Ok(response)
}

fn send(path: &str, asked: &HeaderMap) -> Answer {
    let missing = || Failure::new(ErrorCode::NotFound, "the page has no such part");
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(missing)?;
    let packed = file.packed.filter(|_| takes_gzip(asked));
    let mut response = if has(asked, file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Bytes::from_static(packed.unwrap_or(file.body)).into())
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(header::ETAG, HeaderValue::from_static(file.etag));
    // Asked for each time, sent when it changed.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether the browser has these bytes already.
fn has(asked: &HeaderMap, etag: &str) -> bool {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_sent_only_to_who_takes_it() {
        let takes = |accept: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]))
        };
        assert!(
            takes("gzip")
                && takes("br, GZIP;q=0.5")
                && !takes("gzip;q=0, br")
                && !takes("")
                && !takes("gzipped")
        );
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
