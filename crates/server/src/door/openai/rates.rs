//! How often a key may ask for a turn, as OpenAI tells its clients.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue};
use moongate_core::{Caller, Refusal};
use moongate_protocol::ErrorCode;

use super::{
    Openai,
    failure::{Fault, Reply},
};
use crate::{
    caller::Authenticated,
    door::shared::{
        Door, Path,
        rate::{Left, Rate},
    },
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// Uses one of the caller's share.
///
/// # Errors
/// 429 when it is used up.
pub(super) fn take(rate: &Rate, caller: &Caller) -> Reply<Left> {
    rate.take(caller.key()).map_err(|wait| refused(rate, wait))
}

fn refused(rate: &Rate, wait: Duration) -> Fault {
    let most = rate.per_minute();
    let message = format!("Rate limit reached: this key has {most} requests a minute. Try again soon.");
    Refusal::later(ErrorCode::RateLimited, message, wait).into()
}

/// A path whose requests each ask for a turn: one of the caller's share each, before anything is read.
pub(super) fn limited(mut path: Path<Door<Openai>>, rate: &Arc<Rate>) -> Path<Door<Openai>> {
    let rate = Arc::clone(rate);
    path.handler = path.handler.route_layer(from_fn(move |request: Request, next: Next| {
        let rate = Arc::clone(&rate);
        async move {
            let caller = request.extensions().get::<Authenticated>();
            let Some(key) = caller.map(|caller| caller.key()) else { return next.run(request).await };
            let (response, left) = match rate.take(key) {
                Ok(left) => (next.run(request).await, left),
                Err(wait) => (refused(&rate, wait).into_response(), Left { times: 0, whole_in: wait }),
            };
            marked(response, rate.per_minute(), left)
        }
    }));
    path
}

/// The reply with what is left of the share.
fn marked(mut response: Response, most: u32, left: Left) -> Response {
    if most > 0 {
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(most));
        headers.insert(REMAINING, HeaderValue::from(left.times));
        if let Ok(reset) = HeaderValue::try_from(format!("{}ms", left.whole_in.as_millis())) {
            headers.insert(RESET, reset);
        }
    }
    response
}
