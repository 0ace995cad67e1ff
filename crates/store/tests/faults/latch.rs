//! After a write that failed for an unknown reason nothing is written any more.

use moongate_core::{Store, StoreError};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::event;

use crate::{assert_whole, say, stranger, talk, tenant};

#[tokio::test]
async fn a_failed_write_stops_all_writing_until_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 3, 1).await;
    assert_eq!(store.fault(), None);

    stranger(folder.path()).execute_batch("ALTER TABLE log RENAME TO gone").unwrap();
    let failed = scribes[0].try_write(&*store, vec![event::said(1, "lost")]).await;
    assert!(matches!(failed, Err(StoreError::ReadOnly(_))), "{failed:?}");
    assert!(store.fault().is_some());

    // The cause is gone, the doubt is not.
    stranger(folder.path()).execute_batch("ALTER TABLE gone RENAME TO log").unwrap();
    for scribe in &mut scribes {
        let refused = scribe.try_write(&*store, vec![event::said(1, "refused")]).await;
        assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    }
    assert!(matches!(store.delete(scribes[0].id, store.fence()).await, Err(StoreError::ReadOnly(_))));
    assert_whole(&store, &scribes).await;

    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.fault(), None);
    for scribe in &mut scribes {
        scribe.fence = store.fence();
        say(&store, scribe).await;
    }
    assert_whole(&store, &scribes).await;
}

#[tokio::test]
async fn a_closed_store_refuses_and_lets_go_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 1, 1).await;
    store.close().await;
    let refused = scribes[0].try_write(&*store, vec![event::said(1, "late")]).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    assert!(matches!(store.session(scribes[0].id).await, Err(StoreError::Engine(_))));
    store.close().await;
    let wal = std::fs::metadata(folder.path().join("moongate.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(wal, 0, "a clean end leaves nothing to recover");
    assert_whole(&SqliteStore::open(folder.path()).unwrap(), &scribes).await;
}
