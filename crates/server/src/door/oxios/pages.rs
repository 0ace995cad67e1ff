//! Lists by page number.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::reply::Failure;

/// Items of a page where nobody says how many.
const LIMIT: u64 = 50;
/// Most items of a page.
const MOST: u64 = 500;

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    page: u64,
    limit: u64,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    page: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
}

/// A page of items.
#[derive(Serialize)]
pub(super) struct Items<T> {
    items: Vec<T>,
    total: u64,
    page: u64,
    limit: u64,
}

impl Page {
    /// Items before the page; the page before the first is the first.
    pub(super) fn offset(self) -> usize {
        usize::try_from((self.page.max(1) - 1).saturating_mul(self.limit)).unwrap_or(usize::MAX)
    }

    /// Items of the page.
    pub(super) fn limit(self) -> usize {
        usize::try_from(self.limit).unwrap_or(0)
    }

    /// The page's body.
    pub(super) fn of<T>(self, items: Vec<T>, total: u64) -> Items<T> {
        Items { items, total, page: self.page, limit: self.limit }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let asked = axum::extract::Query::<Asked>::try_from_uri(&parts.uri);
        let asked = asked.map_err(|_| Failure::invalid("page and limit are numbers"))?;
        Ok(Self { page: asked.page.unwrap_or(1), limit: asked.limit.unwrap_or(LIMIT).min(MOST) })
    }
}
