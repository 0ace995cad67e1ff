//! A few connections that only read, shared by everybody who does.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moongate_core::StoreError;
use rusqlite::Connection;
use tokio::{
    sync::{Notify, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use crate::{connect, error::reading};

/// Reads at the same time: each may hold a page cache and a thread.
const CONNECTIONS: usize = 4;
/// Reads that may wait for a connection: a few for each client a server has.
const MAX_WAITING: usize = 16 * 1024;
/// How long a read waits for its answer.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The reading connections.
#[derive(Debug)]
pub(crate) struct Readers(Arc<Shared>);

/// What those who read and the threads that do it share.
///
/// A read that waits holds nothing but its place in the line. Were it handed a connection while it waits, one that
/// is not polled for a while (a socket has several waits and attends to one) would keep it from all others.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    line: Mutex<Line>,
    /// The last thread has ended.
    is_quiet: Notify,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    idle: Vec<Connection>,
    /// Threads that work the line off.
    threads: usize,
    is_closed: bool,
}

/// A read, and whom it answers.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("waiting", &self.waiting.len()).field("threads", &self.threads).finish()
    }
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, line: Mutex::default(), is_quiet: Notify::new() }))
    }

    /// Runs one read on a thread for blocking work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.stand_in_line(Box::new(move |connection| {
            // Whoever asked may have gone away while it waited.
            if !reply.is_closed() {
                drop(reply.send(connection.and_then(read)));
            }
        }))?;
        let answer = timeout(MAX_WAIT, answer).await;
        answer
            .map_err(|_| StoreError::Engine("too many reads are under way".into()))?
            .map_err(|_| StoreError::Engine("a read did not end".into()))?
    }

    /// Runs a long read on a connection of its own: nothing is cached in it that may be out of date, and its
    /// page cache goes with it.
    pub(crate) async fn run_apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.0.path.clone();
        self.run(move |_| read(&connect::reader(&path).map_err(|error| reading(&error))?)).await
    }

    /// Ends reading: waits for the reads under way and closes the connections.
    pub(crate) async fn close(&self) {
        self.0.line().is_closed = true;
        let quiet = async {
            loop {
                let news = self.0.is_quiet.notified();
                if self.0.line().threads == 0 {
                    break;
                }
                news.await;
            }
        };
        // Past the bound the connections are closed with the store's last user.
        let _ = timeout(MAX_WAIT, quiet).await;
        self.0.line().idle.clear();
    }

    fn stand_in_line(&self, job: Job) -> Result<(), StoreError> {
        let mut line = self.0.line();
        if line.is_closed {
            return Err(StoreError::Engine("the store is closed".into()));
        }
        if line.waiting.len() >= MAX_WAITING {
            return Err(StoreError::Engine("too many reads are waiting".into()));
        }
        line.waiting.push_back(job);
        if line.threads < CONNECTIONS {
            line.threads += 1;
            let shared = self.0.clone();
            // `close` waits for it.
            spawn_blocking(move || shared.work());
        }
        Ok(())
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until nobody waits any more.
    fn work(&self) {
        let mut kept = self.line().idle.pop();
        loop {
            let mut line = self.line();
            let Some(job) = line.waiting.pop_front() else {
                line.idle.extend(kept);
                line.threads -= 1;
                if line.threads == 0 {
                    self.is_quiet.notify_waiters();
                }
                return;
            };
            drop(line);
            kept = self.read(job, kept);
        }
    }

    /// Runs one read; gives the connection back unless the read broke off in the middle.
    fn read(&self, job: Job, kept: Option<Connection>) -> Option<Connection> {
        let connection = match kept.map_or_else(|| connect::reader(&self.path), Ok) {
            Ok(connection) => connection,
            Err(error) => {
                job(Err(reading(&error)));
                return None;
            }
        };
        // The panic's own message went to the log by the panic hook; who asked hears that it did not end.
        let done = catch_unwind(AssertUnwindSafe(|| job(Ok(&connection))));
        done.is_ok().then_some(connection)
    }
}
