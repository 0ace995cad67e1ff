//! Pages of other origins: what they may send, and what they are told.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// What pages of listed origins may send and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cors {
    /// Methods, as the header lists them.
    pub(crate) methods: &'static str,
    /// Request headers.
    pub(crate) headers: &'static str,
    /// Reply headers beyond those a page may always read.
    pub(crate) exposes: &'static str,
}

/// The request's origin, where it is one of the listed.
pub(crate) fn listed(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// Whether a page asks what it may send.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// The answer to a page that asks what it may send.
    pub(crate) fn preflight(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let out = response.headers_mut();
        out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(self.methods));
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(self.headers));
        out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }

    /// Lets a page of a listed origin read a reply.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !self.exposes.is_empty() {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.exposes));
        }
        let cross = HeaderName::from_static("cross-origin-resource-policy");
        headers.insert(cross, HeaderValue::from_static("cross-origin"));
    }
}
