//! The frozen list of routes that need no key.

use std::time::Duration;

use axum::{extract::State, response::Response, routing::get};
use http::{HeaderValue, StatusCode, header};
use moongate_core::Refusal;
use moongate_protocol::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App,
    reply::{Answer, ErrorBody, Failure, json, ok},
    route::Route,
};

/// When to ask again whether requests will be served.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Requests will be served.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Always `ready`.
    status: &'static str,
}

/// Requests will not be served, not all of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotReady {
    #[serde(flatten)]
    error: ErrorBody,
    /// Always `not_ready`.
    status: &'static str,
    /// Why: `draining`, `store_read_only`.
    reasons: Vec<&'static str>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", get(health)).says("The process answers").ok::<Health>(200),
        Route::get("/readyz", get(readiness))
            .says("Whether requests will be served")
            .ok::<Ready>(200)
            .ok::<NotReady>(503),
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
    if reasons.is_empty() {
        return json(StatusCode::OK, &Ready { status: "ready" });
    }
    let message = format!("not ready: {}", reasons.join(", "));
    let refusal = Refusal { retry_after: Some(ASK_AGAIN), ..Refusal::new(ErrorCode::Unavailable, message) };
    let failure = Failure::from(refusal);
    let body = NotReady { error: failure.body(), status: "not_ready", reasons };
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &body);
    if let Some(seconds) = failure.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
