//! Turns of many clients at once.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    client::{Client, Transport},
    marks::Turn,
    process::Tree,
    site::{self, Site},
    spread::Spread,
};
use crate::Fault;

/// A client that fails this often in a row stops.
const FAILURES_MOST: u32 = 5;

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// How clients speak
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    transport: Transport,
    /// Clients at once, each with a connection and a session of its own
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Turns of each client before
    #[arg(long, default_value_t = 3)]
    warm_up: u32,
    /// The server's process, to measure it too
    #[arg(long)]
    pid: Option<u32>,
    /// The file that holds the number of the server's flushes: see flushes.c
    #[arg(long)]
    flush_count: Option<PathBuf>,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    clients: usize,
    seconds: f64,
    turns: usize,
    errors: usize,
    first_error: Option<String>,
    turns_per_s: f64,
    bytes_per_turn: Option<usize>,
    first_ms: Option<Spread>,
    done_ms: Option<Spread>,
    load_cpu_ms: f64,
    server: Option<Server>,
    flushes_per_turn: Option<f64>,
}

/// The server's side.
#[derive(Serialize)]
struct Server {
    cpu_ms_per_turn: Option<f64>,
    rss_mb: f64,
}

/// One client's share.
#[derive(Default)]
struct Share {
    turns: Vec<Turn>,
    errors: usize,
    first_error: Option<String>,
}

pub(crate) async fn measure(options: &Options) -> Result<Report, Fault> {
    let site = Site::new(&options.site)?;
    let clients = prepare(&site, options).await?;
    let server = options.pid.map(Tree);
    let (server_before, load_before) = (server.map(Tree::cpu_ms), Tree::own().cpu_ms());
    let flushed_before = flushes(options.flush_count.as_deref());
    let began = Instant::now();
    let over = began + Duration::from_secs_f64(options.seconds);
    let mut running: JoinSet<Share> =
        clients.into_iter().map(|client| async move { work(client, over).await }).collect();
    let mut all = Share::default();
    while let Some(share) = running.join_next().await {
        all.add(share?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let turns = all.turns.len();
    let each = |total: f64| (turns > 0).then(|| total / turns as f64);
    Ok(Report {
        clients: options.clients,
        seconds,
        turns,
        errors: all.errors,
        first_error: all.first_error,
        turns_per_s: turns as f64 / seconds,
        bytes_per_turn: all.turns.iter().map(|turn| turn.bytes).sum::<usize>().checked_div(turns),
        first_ms: Spread::of(all.turns.iter().map(|turn| turn.first)),
        done_ms: Spread::of(all.turns.iter().map(|turn| turn.done)),
        flushes_per_turn: each((flushes(options.flush_count.as_deref()) - flushed_before) as f64)
            .filter(|_| options.flush_count.is_some()),
        load_cpu_ms: Tree::own().cpu_ms() - load_before,
        server: server.zip(server_before).map(|(server, before)| Server {
            cpu_ms_per_turn: each(server.cpu_ms() - before),
            rss_mb: server.rss_kib() / 1024.0,
        }),
    })
}

/// Flushes so far; a file that is not there yet counts none.
fn flushes(count: Option<&Path>) -> u64 {
    let bytes = count.and_then(|count| fs::read(count).ok()).unwrap_or_default();
    bytes.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// Opens all clients and warms them up.
async fn prepare(site: &Site, options: &Options) -> Result<Vec<Client>, Fault> {
    let mut opening = JoinSet::new();
    for _ in 0..options.clients {
        let (site, transport, warm_up) = (site.clone(), options.transport, options.warm_up);
        opening.spawn(async move {
            let mut client = Client::open(&site, transport).await?;
            for _ in 0..warm_up {
                client.turn().await?;
            }
            Ok::<_, Fault>(client)
        });
    }
    let mut clients = Vec::with_capacity(options.clients);
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok(clients)
}

async fn work(mut client: Client, over: Instant) -> Share {
    let mut share = Share::default();
    let mut in_a_row = 0;
    while Instant::now() < over && in_a_row < FAILURES_MOST {
        match client.turn().await {
            Ok(turn) => {
                share.turns.push(turn);
                in_a_row = 0;
            }
            Err(fault) => {
                share.errors += 1;
                share.first_error.get_or_insert_with(|| fault.to_string());
                in_a_row += 1;
            }
        }
    }
    share
}

impl Share {
    fn add(&mut self, other: Self) {
        self.turns.extend(other.turns);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}
