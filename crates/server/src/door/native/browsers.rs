//! Browsers that signed in: how one signs out, and links that sign one in.

use axum::{
    extract::State,
    response::Response,
    routing::{delete, post},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use moongate_protocol::{ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    App,
    audit::audit,
    body::OptionalJson,
    caller::Authenticated,
    guard::Client,
    page::signin::cookie,
    reply::{Answer, Failure, json, no_content},
    route::{Route, Shape},
};

/// By this header a browser forgets what it kept of the page.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::delete("/session", delete(sign_out))
            .says("Sign this browser out: its cookie ends at once, also on open streams")
            .answers(204, Shape::Empty)
            .writes(),
        Route::post("/signin-links", post(link))
            .says("A link that signs a browser in as the caller, once")
            .json::<AskLink>()
            .ok::<LinkBody>(201)
            .refuses(&[ErrorCode::RateLimited]),
    ]
}

async fn sign_out(State(app): State<App>, caller: Authenticated, client: Client) -> Answer<Response> {
    let id = caller.key().filter(|_| caller.0.browser.is_some());
    let id = id.ok_or_else(|| Failure::invalid("only a browser that signed in can sign out"))?;
    app.callers().sign_out(id, app.gateway().ids().now()).await?;
    audit(&app, &caller, client, "browser.signed_out", id.to_string()).await;
    let mut response = no_content();
    response.headers_mut().insert(header::SET_COOKIE, cookie("", 0)?);
    let everything = HeaderValue::from_static("\"cache\", \"cookies\", \"storage\"");
    response.headers_mut().insert(CLEAR_SITE_DATA, everything);
    Ok(response)
}

/// What kind of link; there is one.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskLink {}

/// A link.
#[derive(Serialize, ToSchema)]
struct LinkBody {
    /// Where the browser goes, beneath the server's address.
    path: String,
    /// When it works no more.
    expires_at: Timestamp,
}

async fn link(
    State(app): State<App>,
    caller: Authenticated,
    client: Client,
    OptionalJson(AskLink {}): OptionalJson<AskLink>,
) -> Answer {
    let (code, expires_at) = app.callers().link(&caller, app.gateway().ids()).await?;
    let who = caller.principal().to_string();
    audit(&app, &caller, client, "browser.link", who).await;
    Ok(json(StatusCode::CREATED, &LinkBody { path: format!("/signin/{code}"), expires_at }))
}
