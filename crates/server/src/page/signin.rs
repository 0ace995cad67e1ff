//! How a browser signs in: what it sends once becomes a cookie that it sends by itself.

use axum::{extract::State, response::Response};
use http::{HeaderMap, HeaderValue, header};
use moongate_protocol::ErrorCode;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    App,
    audit::audit,
    body::Json,
    browser::{SignIn, name_of},
    credential::COOKIE,
    guard::Client,
    limits::BROWSER_LIFE,
    reply::{Answer, Failure, no_content},
};

/// What a browser signs in with: one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInBody {
    /// A key.
    key: Option<String>,
    /// The code of a link; it works once.
    code: Option<String>,
}

pub(super) async fn sign_in(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Json(body): Json<SignInBody>,
) -> Answer<Response> {
    let presented = match (&body.key, &body.code) {
        (Some(key), None) => SignIn::Key(key.trim()),
        (None, Some(code)) => SignIn::Code(code),
        _ => return Err(Failure::invalid("send a key, or a link's code")),
    };
    let browser = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = name_of(browser.unwrap_or_default());
    let signed_in = app.callers().sign_in(presented, (client.0, browser), app.gateway().ids()).await?;
    audit(&app, &signed_in.caller, client, "browser.signed_in", signed_in.id.to_string()).await;
    let mut response = no_content();
    let cookie = cookie(signed_in.secret.expose_secret(), BROWSER_LIFE.as_secs())?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The cookie; one that ends at once takes it back.
pub(crate) fn cookie(secret: &str, seconds: u64) -> Answer<HeaderValue> {
    let text = format!("{COOKIE}={secret}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let mut value = HeaderValue::try_from(text).map_err(|error| {
        tracing::error!(%error, "a cookie could not be written");
        Failure::new(ErrorCode::Internal, "something failed inside; the server's log says more")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
