//! The least a durable gateway must do, so that Moongate can be measured against a floor and not against hope:
//! history in memory, the upstream's stream parsed, each turn in SQLite before its end is told. Nothing else:
//! no keys, no limits, no queue, no resuming, no restart.

mod door;
mod log;
mod turn;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use axum::{Router, routing::get, routing::post, serve::ListenerExt};
use clap::ValueEnum;
use tokio::{net::TcpSocket, sync::mpsc};
use tokio_util::task::TaskTracker;

use self::{log::Entry, turn::Upstream};
use crate::{Fault, runtime, say};

/// Turns that may wait for the writer; more of them wait before the queue.
const QUEUED_ENTRIES: usize = 4096;
/// Connections that may wait to be accepted: all clients of a run come at once.
const BACKLOG: u32 = 4096;

/// How to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address; port 0 takes a free one. The first line of output says which
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the model listens
    #[arg(long)]
    upstream: SocketAddr,
    /// The model of turns that name none
    #[arg(long, default_value = "mock-20t-0ms")]
    model: String,
    /// What happens to a turn before its end is told
    #[arg(long, value_enum, default_value_t = Store::WalFull)]
    store: Store,
    /// The database, made anew
    #[arg(long, default_value = "baseline.db")]
    db: PathBuf,
}

/// What happens to a turn before its end is told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    /// Nothing: the ceiling without durability
    None,
    /// SQLite, WAL, `synchronous=FULL`, one commit for all turns that wait
    WalFull,
}

/// What all requests share.
struct Shared {
    model: String,
    upstream: Upstream,
    log: Option<mpsc::Sender<Entry>>,
    histories: Mutex<HashMap<String, History>>,
    turns: TaskTracker,
}

/// A session's messages as the JSON text the upstream gets; locked while a turn runs.
type History = Arc<tokio::sync::Mutex<String>>;

impl Shared {
    fn history(&self, session: &str) -> History {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(history) = histories.get(session) {
            return Arc::clone(history);
        }
        Arc::clone(histories.entry(session.to_owned()).or_default())
    }
}

pub(crate) fn run(options: Options) -> Result<(), Fault> {
    if options.store == Store::None {
        return serve(options, None);
    }
    let database = log::create(&options.db)?;
    let (log, entries) = mpsc::channel(QUEUED_ENTRIES);
    thread::scope(|scope| {
        let writer = scope.spawn(move || log::write(&database, entries));
        let served = serve(options, Some(log));
        let written = writer.join().map_err(|_| "the writer panicked")?;
        served.and(written.map_err(Fault::from))
    })
}

fn serve(options: Options, log: Option<mpsc::Sender<Entry>>) -> Result<(), Fault> {
    runtime()?.block_on(async {
        let shared = Arc::new(Shared {
            model: options.model,
            upstream: Upstream::new(options.upstream),
            log,
            histories: Mutex::default(),
            turns: TaskTracker::new(),
        });
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/s/{session}/turn", post(door::turn))
            .route("/s/{session}/events", get(door::idle))
            .route("/ws", get(door::socket))
            .with_state(shared);
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(options.listen)?;
        let listener = socket.listen(BACKLOG)?;
        say(&format!("listening on {}", listener.local_addr()?));
        // A connection that cannot be told so works all the same, only later.
        let listener = listener.tap_io(|stream| {
            stream.set_nodelay(true).ok();
        });
        Ok(axum::serve(listener, router).await?)
    })
}
