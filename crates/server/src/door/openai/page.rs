//! Lists, page by page.

use axum::response::Response;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::{
    failure::{Fault, Reply},
    responses::items::Item,
};
use crate::reply::json;

/// Items of a page.
const LIMIT: usize = 20;
/// Most items of a page.
const MOST: usize = 100;

/// Which part of a list is asked for.
#[derive(Deserialize)]
pub(super) struct Listing {
    #[serde(default = "limit")]
    limit: usize,
    #[serde(default)]
    order: Order,
    after: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    #[default]
    Desc,
}

fn limit() -> usize {
    LIMIT
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
    data: Vec<Item>,
}

impl Listing {
    pub(super) fn of(uri: &Uri) -> Reply<Self> {
        let listing = axum::extract::Query::<Self>::try_from_uri(uri);
        let listing = listing.map_err(|_| Fault::invalid("limit is a number, order is asc or desc"))?.0;
        if !(1..=MOST).contains(&listing.limit) {
            return Err(Fault::field("limit", format!("limit is from 1 to {MOST}")));
        }
        Ok(listing)
    }
}

/// The page of all items, oldest first, that is asked for.
pub(super) fn page(mut items: Vec<Item>, listing: &Listing) -> Reply<Response> {
    if listing.order == Order::Desc {
        items.reverse();
    }
    if let Some(after) = &listing.after {
        let at = items.iter().position(|item| item.id() == after);
        let at = at.ok_or_else(|| Fault::field("after", "there is no such item"))?;
        items.drain(..=at);
    }
    let has_more = items.len() > listing.limit;
    items.truncate(listing.limit);
    Ok(list(items, has_more))
}

/// A list of these items.
pub(super) fn list(data: Vec<Item>, has_more: bool) -> Response {
    let id = |item: Option<&Item>| item.map(|item| item.id().to_owned());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    json(StatusCode::OK, &List { object: "list", first_id, last_id, has_more, data })
}
