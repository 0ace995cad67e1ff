//! A power cut while a transaction was being written: any prefix of it may be on the disk.

use std::fs;

use moongate_core::Store;
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event};

use crate::{assert_whole, copy_as_after_a_crash, say, talk, tenant};

/// How many bytes lie between two places the last transaction is cut at; a prime, so that every part of a
/// page is hit.
const STEP: usize = 127;

#[tokio::test]
async fn a_transaction_cut_anywhere_is_there_or_not_and_all_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 3, 2).await;
    store.close().await;
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    for scribe in &mut scribes {
        scribe.fence = store.fence();
        say(&store, scribe).await;
    }
    let wal = folder.path().join("moongate.db-wal");
    let before = usize::try_from(fs::metadata(&wal).unwrap().len()).unwrap();
    let acked = scribes[0].clone();
    scribes[0].write(&*store, vec![event::said(9, "the last words")]).await;
    let whole = fs::read(&wal).unwrap();
    assert!(whole.len() > before + 4096, "the last transaction is at the WAL's end");

    let mut kept = [0, 0];
    for (cut, zeroed) in (before..=whole.len()).step_by(STEP).flat_map(|cut| [(cut, false), (cut, true)]) {
        let copy = tempfile::tempdir().unwrap();
        copy_as_after_a_crash(folder.path(), copy.path());
        let mut torn = whole[..cut].to_vec();
        if zeroed {
            torn.resize(whole.len(), 0);
        }
        fs::write(copy.path().join("moongate.db-wal"), torn).unwrap();
        let reopened = SqliteStore::open(copy.path()).unwrap();
        let head = reopened.session(acked.id).await.unwrap().unwrap().view.head;
        let survivor: &Scribe = if head == acked.row().view.head { &acked } else { &scribes[0] };
        let expected = [survivor.clone(), scribes[1].clone(), scribes[2].clone()];
        assert_whole(&reopened, &expected).await;
        kept[usize::from(head != acked.row().view.head)] += 1;
    }
    assert!(kept[0] > 50, "most cuts lose the transaction: {kept:?}");

    let copy = tempfile::tempdir().unwrap();
    copy_as_after_a_crash(folder.path(), copy.path());
    assert_whole(&SqliteStore::open(copy.path()).unwrap(), &scribes).await;
}
