//! What sockets cost that follow a session and do not read, and what others notice of them.

use std::time::Duration;

use serde::Serialize;

use super::{
    client::{Client, Transport, narrow_socket},
    process::Tree,
    site::{self, Site},
    spread::median,
};
use crate::Fault;

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// Sockets that do not read
    #[arg(long, default_value_t = 16)]
    stalled: usize,
    /// Turns before they come, and again while they are there
    #[arg(long, default_value_t = 40)]
    turns: usize,
    /// The server's process
    #[arg(long)]
    pid: u32,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    stalled: usize,
    /// Bytes a socket that reads was sent meanwhile.
    sent_mb: f64,
    /// The most memory grew, by socket that does not read.
    mib_per_socket: f64,
    /// A turn's time before, and meanwhile.
    alone_ms: f64,
    beside_ms: f64,
}

/// Turns, their memory looked at after each.
struct Turns {
    times: Vec<Duration>,
    bytes: usize,
    most_kib: f64,
}

pub(crate) async fn measure(options: &Options) -> Result<Report, Fault> {
    let site = Site::new(&options.site)?;
    let server = Tree(options.pid);
    // Each session's history stays in memory: what one more of them costs is no part of what the sockets cost.
    let first = turns(&mut Client::open(&site, Transport::Ws).await?, options.turns, server).await?;
    let alone = turns(&mut Client::open(&site, Transport::Ws).await?, options.turns, server).await?;
    let mut client = Client::open(&site, Transport::Ws).await?;
    client.turn().await?;
    let mut stalled = Vec::new();
    for _ in 0..options.stalled {
        stalled.push(narrow_socket(&site, client.session()).await?);
    }
    let beside = turns(&mut client, options.turns, server).await?;
    drop(stalled);
    let (session, both) = (alone.most_kib - first.most_kib, beside.most_kib - alone.most_kib);
    let nothing = "no turns were asked for";
    Ok(Report {
        stalled: options.stalled,
        sent_mb: beside.bytes as f64 / 1e6,
        mib_per_socket: (both - session).max(0.0) / 1024.0 / options.stalled as f64,
        alone_ms: median(&alone.times).ok_or(nothing)?,
        beside_ms: median(&beside.times).ok_or(nothing)?,
    })
}

async fn turns(client: &mut Client, count: usize, server: Tree) -> Result<Turns, Fault> {
    let mut turns = Turns { times: Vec::new(), bytes: 0, most_kib: 0.0 };
    for _ in 0..count {
        let turn = client.turn().await?;
        turns.times.push(turn.done);
        turns.bytes += turn.bytes;
        turns.most_kib = turns.most_kib.max(server.rss_kib());
    }
    Ok(turns)
}
