//! What lies below every door but the native one: mounting, the guard with the door's own refusals, sockets,
//! turns that are waited for, rates.

pub(crate) mod backlog;
mod carrier;
pub(crate) mod cors;
pub(crate) mod dialect;
pub(crate) mod following;
mod gate;
pub(crate) mod handshake;
pub(crate) mod kin;
pub(crate) mod listen;
mod mount;
pub(crate) mod outbox;
mod path;
mod places;
mod pulse;
pub(crate) mod rate;
pub(crate) mod socket;
pub(crate) mod turn;
mod wire;

pub(crate) use self::{
    carrier::Carriers,
    cors::Cors,
    dialect::{Cause, Dialect, Door, Head, Place, Refused},
    mount::{mount, own_listener},
    path::{Access, Path},
    places::Places,
    turn::{InputTurn, Relation, followed},
};

/// Whether a request shows a credential anywhere it may be in: what it is does not matter.
pub(crate) fn reads_credential(uri: &http::Uri, headers: &http::HeaderMap) -> bool {
    let carriers = Carriers { query: true, refuses_query: true };
    carrier::is_misplaced(uri, Access::Key, carriers)
        | carrier::presented(headers, uri, Access::Socket, carriers).is_some()
}
