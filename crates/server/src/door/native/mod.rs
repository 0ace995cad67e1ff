//! The native door: the one that shows everything.

mod activity;
mod approvals;
mod browsers;
mod config;
mod events;
mod inputs;
mod keys;
mod logs;
mod meta;
mod outcome;
mod parts;
mod questions;
mod sessions;
mod sse;
mod views;
pub(crate) mod ws;

use crate::route::Route;

/// Where the door is.
pub(crate) const PREFIX: &str = "/api/v1";
/// What the store calls the door's aliases.
const DOOR: &str = "native";

/// The door's routes. Those that operators' tools expect at the root are there too.
pub(crate) fn routes() -> Vec<Route> {
    let parts = [
        sessions::routes(),
        logs::routes(),
        inputs::routes(),
        events::routes(),
        activity::routes(),
        ws::routes(),
        approvals::routes(),
        questions::routes(),
        meta::routes(),
        config::routes(),
        meta::root_routes(),
        keys::routes(),
        browsers::routes(),
    ];
    let under = parts.into_iter().flatten().map(|route| route.under(PREFIX));
    under.chain(meta::root_routes()).collect()
}
