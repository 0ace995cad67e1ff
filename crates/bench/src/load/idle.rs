//! Memory of clients to whom nothing happens.

use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;

use super::{
    client::{Client, Socket, Transport, open_socket},
    process::Tree,
    site::{self, Kind, Session, Site, refused},
};
use crate::{
    Fault,
    http1::{Connection, Request},
};

/// Clients that come and go before, so that what all share is there already.
const BEFORE: usize = 32;
/// Sockets of one principal that the Oxios door lets in, with some room for those that are just going.
const OXIOS_SOCKETS: usize = 16;
/// Memory is read this long after the last client came.
const SETTLE: Duration = Duration::from_millis(1000);
/// Longest wait for a client's first byte.
const GREETING: Duration = Duration::from_secs(5);

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// How clients follow
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    transport: Transport,
    /// How many, each with a session of its own
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// The server's process
    #[arg(long)]
    pid: u32,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    clients: usize,
    before_mb: f64,
    after_mb: f64,
    kib_per_client: f64,
}

/// A client.
enum Follower {
    Sse { _connection: Box<Connection> },
    Ws { _socket: Box<Socket> },
}

pub(crate) async fn measure(options: &Options) -> Result<Report, Fault> {
    let site = Site::new(&options.site)?;
    let server = Tree(options.pid);
    let sessions = begun(&site, options.clients).await?;
    drop(follow_all(options.transport, sessions.iter().take(BEFORE)).await?);
    tokio::time::sleep(SETTLE).await;
    let before = server.rss_kib();
    let followers = follow_all(options.transport, sessions.iter()).await?;
    tokio::time::sleep(SETTLE).await;
    let after = server.rss_kib();
    let clients = followers.len();
    Ok(Report {
        clients,
        before_mb: before / 1024.0,
        after_mb: after / 1024.0,
        kib_per_client: (after - before) / clients as f64,
    })
}

/// Sessions that are there before somebody follows them, each with who follows it.
async fn begun(site: &Site, count: usize) -> Result<Vec<(Site, Session)>, Fault> {
    let mut sessions = Vec::with_capacity(count);
    let mut connection = Connection::open(site.at).await?;
    let mut whose = site.clone();
    for number in 0..count {
        if site.kind == Kind::Oxios && number % OXIOS_SOCKETS == 0 {
            whose = site.to_another(&mut connection, number).await?;
        }
        let session = match site.kind {
            // Their sessions begin with what is said in them.
            Kind::Construct | Kind::Orra => {
                let mut client = Client::open(site, Transport::Ws).await?;
                client.turn().await?;
                client.session().clone()
            }
            _ => site.open(&mut connection).await?,
        };
        sessions.push((whose.clone(), session));
    }
    Ok(sessions)
}

async fn follow_all(
    transport: Transport,
    sessions: impl Iterator<Item = &(Site, Session)>,
) -> Result<Vec<Follower>, Fault> {
    let mut followers = Vec::new();
    for (site, session) in sessions {
        followers.push(match transport {
            Transport::Sse => Follower::Sse { _connection: Box::new(follow(site, session).await?) },
            Transport::Ws => Follower::Ws { _socket: Box::new(open_socket(site, session).await?) },
        });
    }
    Ok(followers)
}

async fn follow(site: &Site, session: &Session) -> Result<Connection, Fault> {
    let mut connection = Connection::open(site.at).await?;
    let (path, headers) = (site.follow_path(session), site.stream_headers(session));
    let request = Request { method: "GET", path: &path, headers: &headers, body: "" };
    let status = connection.send(&request).await?;
    let mut greeting = BytesMut::new();
    if status != 200 {
        return Err(refused(status, &connection.read_all().await?));
    }
    tokio::time::timeout(GREETING, connection.read(&mut greeting)).await??;
    Ok(connection)
}
