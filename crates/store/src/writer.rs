//! The thread that writes: what queued while it flushed is its next transaction.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use moongate_core::{CheckReport, StoreError};
use rusqlite::{Connection, Result};
use tokio::sync::{mpsc, oneshot};

use crate::{
    OpenError,
    apply::{Numbers, Op, Outcome, Tables},
    checkpoint::Checkpoints,
    error::Failure,
    find::Finder,
    rebuild,
    waiting_turns::WaitingTurns,
};

/// Changes that may wait for the writer; more wait in their callers.
const QUEUE: usize = 4096;
/// Most changes of one transaction, so that its first one does not wait for ever.
const MAX_BATCH: usize = 4096;
/// What the writer is asked to do.
pub(crate) enum Job {
    /// One change, in a transaction with others.
    Change(Change),
    /// Everything derived, anew.
    Rebuild(oneshot::Sender<std::result::Result<CheckReport, StoreError>>),
    /// Nothing more: the database is left tidy and closed.
    Close(oneshot::Sender<()>),
}

/// A change and who waits for it.
pub(crate) struct Change {
    pub(crate) op: Op,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// What the writer tells everybody.
#[derive(Debug, Default)]
pub(crate) struct Status {
    fault: OnceLock<String>,
    is_behind: AtomicBool,
    has_unread: AtomicBool,
    turns: Arc<WaitingTurns>,
}

impl Status {
    /// Why nothing can be written, for ever.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Whether a search or a list would miss something the writer still holds.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Whether even a turn could be missed that is looked for by its id.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Acquire)
    }

    /// Turns whose rows the writer still holds.
    pub(crate) fn turns(&self) -> &WaitingTurns {
        &self.turns
    }

    fn tell(&self, finder: &Finder) {
        self.is_behind.store(finder.is_behind(), Ordering::Release);
        self.has_unread.store(finder.has_unread(), Ordering::Release);
    }

    pub(crate) fn latch(&self, why: String) {
        tracing::error!(error = %why, "a write failed: the store is read-only until the next start");
        // Only the first fault is the cause.
        let _ = self.fault.set(why);
    }
}

/// A running writer: how to ask it, what it says, and when it ended.
pub(crate) struct Running {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) status: Arc<Status>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the thread. It ends when it was closed or nobody can ask it any more.
pub(crate) fn start(path: PathBuf, connection: Connection) -> std::result::Result<Running, OpenError> {
    let status = Arc::new(Status::default());
    let mut writer = Writer::new(connection, path.clone(), status.clone())
        .map_err(|error| OpenError::sqlite(&path, &error))?;
    let (jobs, mut queue) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new()
        .name("moongate-store".into())
        .spawn(move || writer.run(&mut queue))
        .map_err(|error| OpenError::io(path, &error))?;
    Ok(Running { jobs, status, thread })
}

struct Writer {
    connection: Option<Connection>,
    numbers: Numbers,
    finder: Finder,
    status: Arc<Status>,
    checkpoints: Checkpoints,
}

impl Writer {
    fn new(mut connection: Connection, path: PathBuf, status: Arc<Status>) -> Result<Self> {
        let (finder, indexed) = Finder::load(&connection, status.turns.clone())?;
        let numbers = Numbers::load(&connection, indexed)?;
        let checkpoints = Checkpoints::start(&mut connection, path, status.clone())?;
        status.tell(&finder);
        let connection = Some(connection);
        Ok(Self { connection, numbers, finder, status, checkpoints })
    }

    fn run(&mut self, queue: &mut mpsc::Receiver<Job>) {
        let mut closed = None;
        while let Some(job) = queue.blocking_recv() {
            // Where the disk is fast and the processor shared, this thread would wake for each change alone:
            // whoever is about to ask goes first, and is in this batch.
            thread::yield_now();
            let mut batch = Vec::new();
            let mut next = Some(job);
            while let Some(Job::Change(change)) = next {
                batch.push(change);
                next = if batch.len() < MAX_BATCH { queue.try_recv().ok() } else { None };
            }
            if !batch.is_empty() {
                self.write(batch);
                self.checkpoint();
            }
            match next {
                Some(Job::Rebuild(reply)) => drop(reply.send(self.rebuild())),
                Some(Job::Close(reply)) => {
                    closed = Some(reply);
                    break;
                }
                Some(Job::Change(_)) | None => {}
            }
        }
        self.close();
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    /// Writes a batch and answers everybody in it.
    fn write(&mut self, batch: Vec<Change>) {
        if let Some(fault) = self.status.fault() {
            let fault = fault.to_owned();
            answer(batch, |_| Err(StoreError::ReadOnly(fault.clone())));
            return;
        }
        match self.try_batch(&batch) {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                answer(batch, |_| outcomes.next().unwrap_or(Err(StoreError::Conflict)));
            }
            Err(error) => self.give_up(batch, &error),
        }
    }

    fn try_batch(&mut self, batch: &[Change]) -> Result<Vec<Outcome>> {
        let connection = open(self.connection.as_ref())?;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut tables = Tables { connection, numbers: &mut self.numbers, finder: &mut self.finder };
        let outcomes = batch.iter().map(|change| tables.apply(&change.op)).collect::<Result<Vec<_>>>()?;
        let find = self.finder.is_full() || batch.iter().any(|change| matches!(change.op, Op::Find));
        if find {
            self.finder.flush(connection, self.numbers.last_log())?;
        }
        connection.prepare_cached("COMMIT")?.execute(())?;
        if find {
            self.finder.flushed();
        }
        self.status.tell(&self.finder);
        Ok(outcomes)
    }

    /// Undoes a batch that failed, and decides what that means for its changes.
    fn give_up(&mut self, batch: Vec<Change>, error: &rusqlite::Error) {
        let undone = self.undo();
        match Failure::of(error) {
            _ if undone.is_err() => self.latch(batch, error),
            Failure::Fatal => self.latch(batch, error),
            Failure::Full => {
                tracing::warn!(%error, "there is no room on the disk: changes are refused until there is");
                answer(batch, |_| Err(StoreError::DiskFull));
            }
            Failure::Busy => answer(batch, |_| Err(StoreError::Engine(error.to_string()))),
            Failure::Operation if batch.len() == 1 => {
                answer(batch, |_| Err(StoreError::Engine(error.to_string())));
            }
            // One of them cannot be written: the others must not suffer for it.
            Failure::Operation => batch.into_iter().for_each(|change| self.write(vec![change])),
        }
    }

    fn latch(&mut self, batch: Vec<Change>, error: &rusqlite::Error) {
        let why = error.to_string();
        self.status.latch(why.clone());
        answer(batch, |_| Err(StoreError::ReadOnly(why.clone())));
    }

    /// Rolls back, and forgets what the transaction taught.
    fn undo(&mut self) -> Result<()> {
        let connection = open(self.connection.as_ref())?;
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        self.numbers.forget();
        self.finder = Finder::load(connection, self.status.turns.clone())?.0;
        Ok(())
    }

    fn rebuild(&mut self) -> std::result::Result<CheckReport, StoreError> {
        if let Some(fault) = self.status.fault() {
            return Err(StoreError::ReadOnly(fault.to_owned()));
        }
        let engine = |error: rusqlite::Error| StoreError::Engine(error.to_string());
        let connection = self.connection.as_ref().ok_or(StoreError::ReadOnly("it is closed".into()))?;
        let report = rebuild::rebuild(connection).map_err(|error| match Failure::of(&error) {
            Failure::Full => StoreError::DiskFull,
            Failure::Fatal => {
                self.status.latch(error.to_string());
                StoreError::ReadOnly(error.to_string())
            }
            Failure::Busy | Failure::Operation => engine(error),
        });
        self.undo().map_err(engine)?;
        self.status.tell(&self.finder);
        report
    }

    /// Keeps the WAL short.
    fn checkpoint(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.status.fault().is_none()) else {
            return;
        };
        if let Err(error) = self.checkpoints.step(connection) {
            self.status.latch(error.to_string());
        }
    }

    /// Leaves the database tidy: everything findable, the WAL empty.
    fn close(&mut self) {
        if self.status.fault().is_none() && self.finder.is_behind() {
            let (reply, _) = oneshot::channel();
            self.write(vec![Change { op: Op::Find, reply }]);
        }
        self.checkpoints.stop();
        let Some(connection) = self.connection.take() else { return };
        let tidy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        if let Err(error) = tidy.and_then(|()| connection.close().map_err(|(_, error)| error)) {
            tracing::warn!(%error, "the store was not left tidy; the next start reads its WAL");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if thread::panicking() {
            self.status.latch("its writer ended by a fault of its own".into());
        }
    }
}

fn open(connection: Option<&Connection>) -> Result<&Connection> {
    connection.ok_or(rusqlite::Error::InvalidQuery)
}

/// Answers everybody who still waits.
fn answer(batch: Vec<Change>, mut outcome: impl FnMut(&Op) -> Outcome) {
    for change in batch {
        let outcome = outcome(&change.op);
        // A caller that went away asked for nothing any more; what it wrote stays written.
        let _ = change.reply.send(outcome);
    }
}
