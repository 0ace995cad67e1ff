//! The WAL stays short however much is written, and nobody's events are lost with it.

use std::fs;

use moongate_core::Store;
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::event;

use crate::{talk, tenant};

/// What is written in this test: several times the WAL's usual length.
const WRITTEN: u64 = 96 << 20;
/// More than the WAL may ever need here: its usual length, twice, and what is written while it is moved.
const MOST: u64 = 64 << 20;

#[tokio::test]
async fn it_begins_anew_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 4, 1).await;
    let long = "x".repeat(512 << 10);
    let mut written = 0;
    let mut longest = 0;
    while written < WRITTEN {
        for scribe in &mut scribes {
            scribe.write(&*store, vec![event::said(1, &long)]).await;
            // The last one is enough to know it by.
            scribe.written.drain(..scribe.written.len() - 1);
            written += long.len() as u64;
        }
        let wal = fs::metadata(folder.path().join("moongate.db-wal")).unwrap();
        longest = longest.max(wal.len());
    }
    assert!(longest < MOST, "the WAL grew to {longest} bytes");
    assert_eq!(store.fault(), None);
    for scribe in &scribes {
        let row = store.session(scribe.id).await.unwrap();
        assert_eq!(row, Some(scribe.row()));
    }
    store.close().await;
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    let [scribe, ..] = &scribes[..] else { unreachable!() };
    let tail = store.read(scribe.id, moongate_protocol::Seq(scribe.head().0 - 1), 9).await.unwrap();
    assert_eq!(tail[0].json(), scribe.written.last().unwrap().as_bytes());
}
