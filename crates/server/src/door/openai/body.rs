//! Reading a request's body.

use axum::extract::Request;
use http::Uri;
use serde::de::DeserializeOwned;

use super::{
    Openai,
    failure::{Fault, Reply},
};
use crate::{
    body::{parse, read, require_type},
    door::shared::Door,
    limits::FILE_BODY_BYTES,
};

/// A JSON object of the door. Fields the type does not know are for others: clients of OpenAI send many.
pub(super) async fn json<T: DeserializeOwned>(door: &Door<Openai>, request: Request) -> Reply<T> {
    require_type(request.headers(), "application/json")?;
    let bytes = read(request.into_body(), FILE_BODY_BYTES, door.app()).await?;
    Ok(parse(&bytes)?)
}

/// The path's segment after `/NAME/`, percent-encoding undone.
pub(super) fn segment<'a>(uri: &'a Uri, name: &str) -> Reply<&'a str> {
    let mut segments = uri.path().split('/').skip_while(|segment| *segment != name);
    let found = segments.nth(1).filter(|text| !text.is_empty());
    found.ok_or_else(|| Fault::not_found("there is no such thing"))
}
