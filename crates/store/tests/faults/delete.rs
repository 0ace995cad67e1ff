//! What is deleted is gone from the files, too.

use std::fs;

use moongate_core::{Store, StoreAdmin};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::event;

use crate::{assert_whole, database, stranger, talk, tenant};

#[tokio::test]
async fn a_deleted_sessions_words_are_in_no_table_and_not_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let kept = talk(&store, &tenant(), 2, 1).await;
    let mut gone = talk(&store, &tenant(), 1, 1).await.remove(0);
    // Some of its words are in the index, some wait to be.
    assert!(!store.search(&tenant(), "question", 9).await.unwrap().is_empty());
    gone.write(&*store, vec![event::updated(Some("Xylophonist"), None, None)]).await;
    gone.write(&*store, vec![event::said(7, "Quetzalcoatlus")]).await;
    store.delete(gone.id, gone.fence).await.unwrap();
    store.search(&tenant(), "anything", 9).await.unwrap();
    assert_whole(&store, &kept).await;

    let raw = stranger(folder.path());
    let count = |sql: &str| raw.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM session"), 2);
    assert_eq!(
        count("SELECT count(*) FROM find_docsize"),
        4,
        "a question and an answer of each other session"
    );
    assert_eq!(count("SELECT count(*) FROM place WHERE session NOT IN (SELECT no FROM session)"), 0);
    assert_eq!(count("SELECT count(*) FROM log WHERE session NOT IN (SELECT no FROM session)"), 0);
    drop(raw);
    store.close().await;
    let bytes = fs::read(database(folder.path())).unwrap();
    for word in ["Quetzalcoatlus", "quetzalcoatlus", "Xylophonist", "xylophonist"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is still there");
    }
}

#[tokio::test]
async fn words_that_were_indexed_leave_the_disk_with_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    talk(&store, &tenant(), 1, 1).await;
    let mut gone = talk(&store, &tenant(), 1, 1).await.remove(0);
    gone.write(&*store, vec![event::said(7, "Quetzalcoatlus")]).await;
    assert_eq!(store.search(&tenant(), "quetzalcoatlus", 9).await.unwrap().len(), 1);
    store.delete(gone.id, gone.fence).await.unwrap();
    store.rebuild().await.unwrap();
    store.close().await;
    let bytes = fs::read(database(folder.path())).unwrap();
    assert!(!bytes.windows(12).any(|window| window.eq_ignore_ascii_case(b"etzalcoatlus")));
}
