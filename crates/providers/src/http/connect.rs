//! Opening connections.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Connection, Endpoint, TransportFault,
    connection::Io,
    tls::{self, Trust},
};

/// How long one address may be alone before the next one is tried beside it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 6;

/// Opens connections to one endpoint.
#[derive(Clone)]
pub(crate) struct Connector {
    endpoint: Endpoint,
    trust: Option<Trust>,
}

impl Connector {
    /// Trusts the machine's roots where nothing else is said.
    pub(crate) fn new(endpoint: Endpoint, trust: Option<Trust>) -> Self {
        Self { endpoint, trust }
    }

    /// Opens a connection within `limit`.
    pub(crate) async fn connect(self, limit: Duration) -> Result<Connection, TransportFault> {
        timeout(limit, self.open()).await.unwrap_or(Err(TransportFault::ConnectTimeout))
    }

    async fn open(self) -> Result<Connection, TransportFault> {
        let addresses = resolve(&self.endpoint).await?;
        let stream = first_open(addresses).await.map_err(TransportFault::Connect)?;
        // Without it, the second of two small writes waits for the peer's delayed acknowledgement: 40 ms.
        stream.set_nodelay(true).map_err(TransportFault::Connect)?;
        let io = if self.endpoint.is_secure() { self.secure(stream).await? } else { Io::Plain(stream) };
        Connection::handshake(io).await
    }

    async fn secure(self, stream: TcpStream) -> Result<Io, TransportFault> {
        let trust = match self.trust {
            Some(trust) => trust,
            None => tokio::task::spawn_blocking(tls::machine)
                .await
                .ok()
                .flatten()
                .ok_or(TransportFault::Tls(io::ErrorKind::Unsupported.into()))?,
        };
        let name = ServerName::try_from(self.endpoint.host().to_owned())
            .map_err(|_| TransportFault::Tls(io::ErrorKind::InvalidInput.into()))?;
        let stream = TlsConnector::from(trust).connect(name, stream).await.map_err(TransportFault::Tls)?;
        Ok(Io::Tls(Box::new(stream)))
    }
}

/// The endpoint's addresses, both families in turn, the resolver's first choice first.
async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, TransportFault> {
    let found = lookup_host((endpoint.host(), endpoint.port())).await.map_err(TransportFault::Resolve)?;
    let all: Vec<SocketAddr> = found.collect();
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.is_ipv6() == first_is_v6);
    let mut addresses = Vec::new();
    one.reverse();
    other.reverse();
    while addresses.len() < MAX_ADDRESSES && !(one.is_empty() && other.is_empty()) {
        addresses.extend(one.pop());
        addresses.extend(other.pop());
    }
    Ok(addresses)
}

/// The first connection that opens; later addresses begin a little later.
async fn first_open(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts: FuturesUnordered<_> = addresses
        .into_iter()
        .zip(0_u32..)
        .map(|(address, rank)| async move {
            if rank > 0 {
                sleep(NEXT_ADDRESS_AFTER * rank).await;
            }
            TcpStream::connect(address).await
        })
        .collect();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
