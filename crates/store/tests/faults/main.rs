//! What happens when disks, processes and people do what they do.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

mod backup;
mod batch;
mod delete;
mod disk_full;
mod latch;
mod open;
mod readers;
mod rebuild;
mod rot;
mod torn;
mod turns;
mod wal;

use std::{
    fs,
    path::{Path, PathBuf},
};

use moongate_core::{Store, StoreAdmin};
use moongate_protocol::Tenant;
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event, unique};
use rusqlite::Connection;

/// Sessions with a few turns each, as one tenant's.
async fn talk(store: &SqliteStore, tenant: &Tenant, sessions: usize, turns: u64) -> Vec<Scribe> {
    let mut scribes = Vec::new();
    for _ in 0..sessions {
        let mut scribe = Scribe::new(store, tenant);
        scribe.write(store, vec![event::created(None, None)]).await;
        for _ in 0..turns {
            say(store, &mut scribe).await;
        }
        scribes.push(scribe);
    }
    scribes
}

/// One more turn.
async fn say(store: &SqliteStore, scribe: &mut Scribe) {
    let number = unique();
    scribe.write(store, vec![event::input(number, &format!("question {number}"))]).await;
    scribe.write(store, event::turn(number, number, &format!("answer {number} 答え"))).await;
}

/// Panics unless the store has exactly what the scribes wrote, and finds nothing wrong with itself.
async fn assert_whole(store: &SqliteStore, scribes: &[Scribe]) {
    for scribe in scribes {
        assert_eq!(scribe.read_all(store).await, scribe.written);
        assert_eq!(store.session(scribe.id).await.unwrap(), Some(scribe.row()));
    }
    let report = store.check().await.unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(report.sessions, scribes.len() as u64);
}

fn tenant() -> Tenant {
    "default".parse().unwrap()
}

fn database(folder: &Path) -> PathBuf {
    folder.join("moongate.db")
}

/// A connection beside the store's own, as an operator with a shell has.
fn stranger(folder: &Path) -> Connection {
    Connection::open(database(folder)).unwrap()
}

/// The files as a power cut would leave them: the database and what was flushed beside it.
fn copy_as_after_a_crash(from: &Path, to: &Path) {
    for name in ["moongate.db", "moongate.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}
