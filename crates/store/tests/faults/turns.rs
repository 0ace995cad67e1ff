//! The rows of turns are written late, and nobody can tell: not by id, not in a list, not after a crash.

use moongate_core::{Store, TurnQuery, TurnRow};
use moongate_protocol::TurnId;
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event, unique};

use crate::{copy_as_after_a_crash, stranger, tenant};

async fn get(store: &SqliteStore, turn: u64) -> Option<TurnRow> {
    store.turn(&tenant(), TurnId::from_bits(u128::from(turn))).await.unwrap()
}

async fn list(store: &SqliteStore) -> Vec<TurnRow> {
    store.turns(&tenant(), &TurnQuery { limit: 9, ..TurnQuery::default() }).await.unwrap()
}

#[tokio::test]
async fn turns_that_waited_for_their_rows_are_known_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribe = Scribe::new(&*store, &tenant());
    let [listed, short, open] = [unique(), unique(), unique()];
    scribe.write(&*store, vec![event::created(None, None)]).await;
    scribe.write(&*store, vec![event::input(listed, "one"), event::started(listed, &[listed])]).await;
    assert_eq!(list(&store).await.len(), 1, "this one has its row now");
    scribe.write(&*store, vec![event::ended(listed)]).await;
    scribe.write(&*store, vec![event::input(short, "two"), event::started(short, &[short])]).await;
    scribe.write(&*store, vec![event::ended(short)]).await;
    scribe.write(&*store, vec![event::input(open, "three"), event::started(open, &[open])]).await;
    let before = [get(&store, listed).await, get(&store, short).await, get(&store, open).await];
    let ended = |row: &Option<TurnRow>| row.as_ref().map(|row| row.ended.is_some());
    assert_eq!(before.each_ref().map(ended), [Some(true), Some(true), Some(false)]);

    for first_is_list in [false, true] {
        let crashed = tempfile::tempdir().unwrap();
        copy_as_after_a_crash(folder.path(), crashed.path());
        let rows: i64 =
            stranger(crashed.path()).query_row("SELECT count(*) FROM turn", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "the others still wait");
        let again = SqliteStore::open(crashed.path()).unwrap();
        let all: Vec<_> = before.iter().rev().flatten().cloned().collect();
        if first_is_list {
            assert_eq!(list(&again).await, all);
        }
        let found = [get(&again, listed).await, get(&again, short).await, get(&again, open).await];
        assert_eq!(found, before);
        assert_eq!(list(&again).await, all);
        again.close().await;
    }
}

#[tokio::test]
async fn a_turn_whose_append_failed_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribe = Scribe::new(&*store, &tenant());
    scribe.write(&*store, vec![event::created(None, None)]).await;
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON turn BEGIN SELECT RAISE(ABORT, 'poison'); END";
    stranger(folder.path()).execute_batch(poison).unwrap();
    // The append that makes too many turns wait writes all of them, and so fails.
    let mut kept = 0;
    let refused = loop {
        let turn = unique();
        let mut next = scribe.clone();
        if next.try_write(&*store, vec![event::started(turn, &[])]).await.is_err() {
            break turn;
        }
        assert!(get(&store, turn).await.is_some());
        scribe = next;
        kept += 1;
        assert!(kept < 2_000, "turns wait without bound");
    };
    assert_eq!(get(&store, refused).await, None);
    stranger(folder.path()).execute_batch("DROP TRIGGER poison").unwrap();
    assert_eq!(get(&store, refused).await, None);
    let query = TurnQuery { limit: 9_999, ..TurnQuery::default() };
    assert_eq!(store.turns(&tenant(), &query).await.unwrap().len(), kept);
}
