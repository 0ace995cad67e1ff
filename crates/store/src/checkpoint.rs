//! Moves the WAL into the database beside the writer, so that nobody waits for thousands of pages.
//!
//! A pass of a thread of its own moves what there was when it began; what was written meanwhile is little,
//! and the writer moves that itself, between two batches: only then can the WAL begin anew.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Result};

use crate::{connect, error::Failure, writer::Status};

/// Pages in the WAL (of 4 KiB) when they are moved into the database: large, since a page that many appends
/// touched is moved once; small enough that a start after a crash reads them in a moment.
const CHECKPOINT_PAGES: i32 = 8_000;
/// So few pages that the writer may move them itself.
const FEW_PAGES: i32 = 256;
/// Passes the thread makes to get down to few pages while others write.
const MAX_PASSES: u32 = 4;

/// When to move, and the thread that does.
pub(crate) struct Checkpoints {
    wal_pages: Arc<AtomicI32>,
    next_at: i32,
    is_running: Arc<AtomicBool>,
    has_run: bool,
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Watches the writer's connection and starts the thread.
    pub(crate) fn start(connection: &mut Connection, path: PathBuf, status: Arc<Status>) -> Result<Self> {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let pages = wal_pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        let is_running = Arc::new(AtomicBool::new(false));
        let (ask, asked) = sync_channel(1);
        let mover = Mover { connection: connect::writer(&path)?, wal_pages: wal_pages.clone(), status };
        let running = is_running.clone();
        let thread = thread::Builder::new()
            .name("moongate-wal".into())
            .spawn(move || mover.run(&asked, &running))
            .map_err(|_| rusqlite::Error::InvalidPath(path))?;
        Ok(Self {
            wal_pages,
            next_at: CHECKPOINT_PAGES,
            is_running,
            has_run: false,
            ask: Some(ask),
            thread: Some(thread),
        })
    }

    /// Between two batches: asks the thread when the WAL is long, and finishes what it began.
    pub(crate) fn step(&mut self, connection: &Connection) -> Result<()> {
        if self.is_running.load(Ordering::Acquire) {
            return Ok(());
        }
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if self.has_run {
            self.has_run = false;
            let all = is_tolerable(pass(connection))?;
            // Readers that still need the WAL keep it from beginning anew: no use trying at every batch.
            self.next_at = if all { CHECKPOINT_PAGES } else { pages.saturating_add(CHECKPOINT_PAGES) };
        } else if pages >= self.next_at
            && let Some(ask) = &self.ask
        {
            self.is_running.store(true, Ordering::Release);
            self.has_run = ask.try_send(()).is_ok();
            if !self.has_run {
                self.is_running.store(false, Ordering::Release);
            }
        } else {
            self.next_at = self.next_at.min(pages.saturating_add(CHECKPOINT_PAGES));
        }
        Ok(())
    }

    /// Ends the thread.
    pub(crate) fn stop(&mut self) {
        self.ask = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that moves the WAL panicked");
        }
    }
}

struct Mover {
    connection: Connection,
    wal_pages: Arc<AtomicI32>,
    status: Arc<Status>,
}

impl Mover {
    fn run(self, asked: &Receiver<()>, is_running: &AtomicBool) {
        while asked.recv().is_ok() {
            for _ in 0..MAX_PASSES {
                let before = self.wal_pages.load(Ordering::Relaxed);
                match is_tolerable(pass(&self.connection)) {
                    Ok(true) if self.wal_pages.load(Ordering::Relaxed) - before > FEW_PAGES => {}
                    Ok(_) => break,
                    Err(error) => {
                        self.status.latch(error.to_string());
                        break;
                    }
                }
            }
            is_running.store(false, Ordering::Release);
        }
    }
}

/// Moves what can be moved without waiting for anybody; true when that was everything.
fn pass(connection: &Connection) -> Result<bool> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    statement
        .query_row((), |row| Ok(row.get::<_, i32>(0)? == 0 && row.get::<_, i32>(1)? == row.get::<_, i32>(2)?))
}

/// No room, or somebody in the way, is for another time; anything else is a failed write.
fn is_tolerable(moved: Result<bool>) -> Result<bool> {
    match moved {
        Err(error) if Failure::of(&error) == Failure::Fatal => Err(error),
        moved => Ok(moved.unwrap_or(false)),
    }
}
