//! The frozen list of routes that need no key.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App,
    reply::{Answer, json, ok},
    route::{Route, Shape},
};

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Whether requests will be served.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", get(health)).says("The process answers").ok::<Health>(200),
        Route::get("/readyz", get(readiness))
            .says("Whether requests will be served")
            .ok::<Readiness>(200)
            .ok::<Readiness>(503),
        Route::get("/", get(landing)).says("A word for a browser").answers(200, Shape::Text("text/plain")),
    ]
}

async fn health() -> Answer {
    ok(&Health { status: "ok" })
}

async fn readiness(State(app): State<App>) -> Response {
    let mut reasons = Vec::new();
    if app.gateway().draining().is_cancelled() {
        reasons.push("draining");
    }
    if app.gateway().store().fault().is_some() {
        // Which fault is for the operator's log.
        reasons.push("store_read_only");
    }
    match reasons.is_empty() {
        true => json(StatusCode::OK, &Readiness { status: "ready", reasons }),
        false => json(StatusCode::SERVICE_UNAVAILABLE, &Readiness { status: "not_ready", reasons }),
    }
}

async fn landing() -> Response {
    "Moongate answers under /api/v1.\n".into_response()
}
