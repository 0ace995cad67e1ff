//! Everything derived can be built anew from the logs, and is the same then.

use std::path::Path;

use moongate_core::{Store, StoreAdmin};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event, unique};
use rusqlite::types::Value;

use crate::{stranger, talk, tenant};

/// Every derived table's rows, as values.
fn derived(folder: &Path) -> Vec<(&'static str, Vec<Vec<Value>>)> {
    let raw = stranger(folder);
    raw.execute_batch("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'find', 'instance')").unwrap();
    let tables = [
        ("session", "SELECT * FROM session ORDER BY no"),
        ("approval", "SELECT * FROM approval ORDER BY id"),
        ("question", "SELECT * FROM question ORDER BY id"),
        ("turn", "SELECT * FROM turn ORDER BY tenant, id, session"),
        ("usage", "SELECT * FROM usage ORDER BY tenant, at, session, seq"),
        ("find", "SELECT term, doc, col, offset FROM words ORDER BY doc, offset"),
        ("idempotency", "SELECT * FROM idempotency ORDER BY session, key"),
    ];
    let dump = |sql: &str| {
        let mut statement = raw.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map((), |row| (0..columns).map(|i| row.get(i)).collect());
        rows.unwrap().collect::<Result<Vec<Vec<Value>>, _>>().unwrap()
    };
    tables.into_iter().map(|(name, sql)| (name, dump(sql))).collect()
}

/// A store with something of everything.
async fn fill(store: &SqliteStore) {
    let mut scribes = talk(store, &tenant(), 4, 3).await;
    let gone = scribes.pop().unwrap();
    store.search(&tenant(), "anything", 1).await.unwrap();
    store.delete(gone.id, gone.fence).await.unwrap();
    let [first, second, third] = &mut scribes[..] else { unreachable!() };
    first.write(store, vec![event::updated(Some("a 新しい title"), Some(true), Some("coder"))]).await;
    first.write(store, vec![event::updated(Some("a better title"), None, None)]).await;
    second.write(store, vec![event::started(1, &[]), event::asks(1, unique(), 5)]).await;
    let (open, answered) = (unique(), unique());
    second.write(store, vec![event::inquires(1, open, 5), event::inquires(1, answered, 5)]).await;
    second.write(store, vec![event::answers(1, answered)]).await;
    third.write_keyed(store, vec![event::input(unique(), "waits")], "a-key").await;
    third.write(store, vec![event::billed(1, "other/model", 3, None)]).await;
    let mut fork = Scribe { door: "oxios", ..Scribe::new(store, &tenant()) };
    let copied = vec![
        event::created(Some("copied"), Some("näme")),
        event::input(1, "copied words"),
        event::started(1, &[1]),
        event::billed(1, "builtin/demo", 5, Some(1)),
        event::forked(first.id, first.head()),
    ];
    fork.write(store, copied).await;
    let other = "other-tenant".parse().unwrap();
    talk(store, &other, 2, 1).await;
    store.search(&other, "anything", 1).await.unwrap();
}

#[tokio::test]
async fn everything_derived_is_the_same_after_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    fill(&store).await;
    let before = derived(folder.path());
    assert!(before.iter().all(|(name, rows)| !rows.is_empty() || panic!("{name} is empty")));
    let report = store.rebuild().await.unwrap();
    assert_eq!((report.sessions, report.faults), (6, vec![]));
    assert_eq!(derived(folder.path()), before);

    // And it is made whole from nothing, or from something wrong.
    let usage_of_the_gone = "session NOT IN (SELECT id FROM session)";
    stranger(folder.path())
        .execute_batch(&format!(
            "DELETE FROM approval; DELETE FROM question; DELETE FROM turn; DELETE FROM usage WHERE NOT {usage_of_the_gone}; \
             DELETE FROM find WHERE rowid > 0; UPDATE session SET owner = 'x', state = 2, busy = 1, updated = 0, \
             archived = 1, alias = NULL, view = json_set(view, '$.title', 'wrong', '$.archived', json('true'))"
        ))
        .unwrap();
    assert_ne!(derived(folder.path()), before);
    let wrong = store.check().await.unwrap();
    assert_eq!(wrong.faults.len(), 6, "{wrong:?}");
    let found = store.search(&tenant(), "question", 99).await.unwrap();
    assert_eq!(found, []);
    store.rebuild().await.unwrap();
    assert_eq!(derived(folder.path()), before);
    assert!(store.search(&tenant(), "question", 99).await.unwrap().len() >= 6);
    assert_eq!(store.check().await.unwrap().faults, []);
}

#[tokio::test]
async fn a_damaged_session_keeps_what_it_has_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let mut scribes = talk(&store, &tenant(), 3, 2).await;
    let raw = stranger(folder.path());
    raw.execute("UPDATE log SET sum = 0 WHERE session = 2 AND first > 4", ()).unwrap();
    let report = store.rebuild().await.unwrap();
    let named: Vec<_> = report.faults.iter().filter_map(|(session, _)| *session).collect();
    assert_eq!(named, [scribes[1].id]);
    assert_eq!(store.session(scribes[1].id).await.unwrap(), Some(scribes[1].row()));
    // The others go on, and are found.
    crate::say(&store, &mut scribes[2]).await;
    assert!(store.search(&tenant(), "question", 99).await.unwrap().len() >= 5);
}
