//! Many sessions share a flush, and nobody suffers for another's fault.

use std::{fs, path::Path, sync::Arc};

use moongate_core::{Store, StoreError};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event};

use crate::{assert_whole, stranger, talk, tenant};

/// Transactions in the WAL: frames that say how large the database is after them.
fn commits(folder: &Path) -> usize {
    let wal = fs::read(folder.join("moongate.db-wal")).unwrap();
    let (header, page) = (&wal[..32], u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize);
    let salt = &header[16..24];
    let frames = wal[32..].chunks_exact(24 + page).take_while(|frame| &frame[8..16] == salt);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

/// Plans one append a session, hands all to the store while a stranger keeps the writer from writing, and
/// returns how they ended. The first is already with the writer; the others are queued behind it.
async fn queue_behind_a_lock(
    folder: &Path,
    store: &Arc<SqliteStore>,
    scribes: &mut [Scribe],
    stale: Option<usize>,
) -> Vec<Result<(), StoreError>> {
    let raw = stranger(folder);
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut asked = Vec::new();
    for (i, scribe) in scribes.iter_mut().enumerate() {
        let (mut append, after) = scribe.plan(vec![event::said(1, "in one flush")]);
        if stale == Some(i) {
            let (more, _) = after.plan(vec![event::said(2, "too early")]);
            append = more;
        } else {
            *scribe = after;
        }
        let store = store.clone();
        asked.push(tokio::spawn(async move { store.append(append).await }));
    }
    // All of them have been polled, and so are in the writer's queue, when this task's turn comes again.
    for _ in 0..=asked.len() {
        tokio::task::yield_now().await;
    }
    raw.execute_batch("ROLLBACK").unwrap();
    drop(raw);
    let mut outcomes = Vec::new();
    for task in asked {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn what_queued_during_a_flush_is_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 65, 0).await;
    let before = commits(folder.path());
    let outcomes = queue_behind_a_lock(folder.path(), &store, &mut scribes, None).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let flushes = commits(folder.path()) - before;
    assert!(flushes <= 3, "65 appends took {flushes} flushes");
    assert_whole(&store, &scribes).await;
}

#[tokio::test]
async fn a_conflict_in_a_batch_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 20, 0).await;
    let outcomes = queue_behind_a_lock(folder.path(), &store, &mut scribes, Some(10)).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        assert!(if i == 10 { matches!(outcome, Err(StoreError::Conflict)) } else { outcome.is_ok() });
    }
    assert_whole(&store, &scribes).await;
}

#[tokio::test]
async fn an_append_that_cannot_be_written_does_not_take_others_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 20, 0).await;
    let poisoned = scribes[7].clone();
    stranger(folder.path())
        .execute_batch(&format!(
            "CREATE TRIGGER poison BEFORE INSERT ON log WHEN NEW.body LIKE '%{}%' AND NEW.first > 1 \
             BEGIN SELECT RAISE(ABORT, 'poison'); END",
            poisoned.id
        ))
        .unwrap();
    let outcomes = queue_behind_a_lock(folder.path(), &store, &mut scribes, None).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        let expected = if i == 7 { matches!(outcome, Err(StoreError::Engine(_))) } else { outcome.is_ok() };
        assert!(expected, "{i}: {outcome:?}");
    }
    scribes[7] = poisoned;
    assert_eq!(store.fault(), None);
    assert_whole(&store, &scribes).await;
    assert_eq!(store.search(&tenant(), "flush", 99).await.unwrap().len(), 19);
}
