//! The routes that are no WebSocket.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::reply::json;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) async fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok" })
}
