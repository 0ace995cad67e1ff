//! A small HTTP/1.1 client: one request, one streamed answer, driven by whoever reads it. No redirects, no
//! compression, no background tasks.

mod connect;
mod connection;
mod endpoint;
mod exchange;
mod pool;
mod relay;
mod tls;

pub use endpoint::{Endpoint, EndpointFault};

pub(crate) use connect::Connector;
pub(crate) use connection::Connection;
pub(crate) use exchange::{Exchange, Head, TransportFault};
pub(crate) use pool::Pool;
pub(crate) use tls::{Trust, trust};
