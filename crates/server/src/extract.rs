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
    ranges(headers).any(|range| range.essence.eq_ignore_ascii_case(EVENTS) && range.is_taken)
}

/// Whether the client takes a stream of events: it names it, or anything, or nothing. The closest name counts.
pub(crate) fn takes_events(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    let named = |name: &str| {
        let mut found = ranges(headers).filter(|range| range.essence.eq_ignore_ascii_case(name)).peekable();
        found.peek().is_some().then(|| found.any(|range| range.is_taken))
    };
    named(EVENTS).or_else(|| named("text/*")).or_else(|| named("*/*")).unwrap_or(false)
}

/// The media type of streams.
const EVENTS: &str = "text/event-stream";

/// A media range of an `Accept` header.
struct Range<'a> {
    essence: &'a str,
    /// Its weight is not zero, which means "anything but this".
    is_taken: bool,
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let mut pieces = range.split(';').map(str::trim);
        let essence = pieces.next().unwrap_or_default();
        let weight = pieces.find_map(|piece| piece.strip_prefix("q=").or(piece.strip_prefix("Q=")));
        let is_taken = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        Range { essence, is_taken }
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_closest_name_says_what_a_client_takes() {
        let asked = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            (takes_events(&headers), wants_events(&headers))
        };
        for accept in
            ["text/event-stream", "text/html, Text/Event-Stream;q=0.1", "text/event-stream; q=1, */*;q=0"]
        {
            assert_eq!(asked(accept), (true, true), "{accept}");
        }
        for accept in ["*/*", "text/*", "application/json, */*;q=0.1"] {
            assert_eq!(asked(accept), (true, false), "{accept}");
        }
        for accept in ["", "application/json", "text/event-stream;q=0, */*", "text/*;q=0, */*", "*/*;q=0"] {
            assert_eq!(asked(accept), (false, false), "{accept}");
        }
        assert!(takes_events(&HeaderMap::new()) && !wants_events(&HeaderMap::new()));
    }
}
