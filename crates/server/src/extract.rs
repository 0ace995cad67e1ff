//! Reading ids from paths and parameters from queries, refusals in the one shape.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::{HeaderMap, header, request::Parts};
use moongate_protocol::ParseError;
use serde::de::DeserializeOwned;

use crate::{
    App,
    reply::{Answer, Failure},
};

/// The path's one parameter.
pub(crate) struct Id<T>(pub(crate) T);

/// The path's two parameters.
pub(crate) struct Ids<A, B>(pub(crate) A, pub(crate) B);

impl<T: FromStr<Err = ParseError>> FromRequestParts<App> for Id<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let params = path(parts, app).await?;
        parameter(&params, 0).map(Self)
    }
}

impl<A, B> FromRequestParts<App> for Ids<A, B>
where
    A: FromStr<Err = ParseError>,
    B: FromStr<Err = ParseError>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let params = path(parts, app).await?;
        Ok(Self(parameter(&params, 0)?, parameter(&params, 1)?))
    }
}

async fn path(parts: &mut Parts, app: &App) -> Answer<RawPathParams> {
    let params = RawPathParams::from_request_parts(parts, app).await;
    params.map_err(|_| Failure::invalid("the path is not valid UTF-8"))
}

fn parameter<T: FromStr<Err = ParseError>>(params: &RawPathParams, at: usize) -> Answer<T> {
    let text = params.iter().nth(at).map_or("", |(_, text)| text);
    Ok(text.parse()?)
}

/// The query's parameters; unknown ones are refused by the type.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            // The text names the parameter; where it repeats a value it is the client's own.
            let source =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Failure::invalid(format!("the query is not acceptable: {source}"))
        })
    }
}

/// A page's size between 1 and `most`.
pub(crate) fn page_size(asked: Option<usize>, default: usize, most: usize) -> Answer<usize> {
    match asked.unwrap_or(default) {
        size if (1..=most).contains(&size) => Ok(size),
        _ => Err(Failure::field("limit", format!("limit is from 1 to {most}"))),
    }
}

/// Whether the client asks for a stream of events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}
