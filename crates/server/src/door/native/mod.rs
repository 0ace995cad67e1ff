//! The native door: the one that shows everything.

mod events;
mod input_turn;
mod inputs;
mod parts;
mod sessions;
mod sse;
mod views;

use crate::route::Route;

/// Where the door is.
pub(crate) const PREFIX: &str = "/api/v1";
/// What the store calls the door's aliases.
const DOOR: &str = "native";

pub(crate) fn routes() -> Vec<Route> {
    let parts = [sessions::routes(), inputs::routes(), events::routes()];
    parts.into_iter().flatten().map(|route| route.under(PREFIX)).collect()
}
