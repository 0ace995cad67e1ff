//! Opening: what is refused, with which words, and upgrades that are cut off.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use bytes::Bytes;
use moongate_core::Store;
use moongate_store::{OpenError, SqliteStore};
use rusqlite::Connection;

use crate::{assert_whole, copy_as_after_a_crash, database, say, stranger, talk, tenant};

const SECOND_STEP: &str = include_str!("../../migrations/0002_unfinished.sql");

fn refusal(folder: &Path) -> OpenError {
    SqliteStore::open(folder).unwrap_err()
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().contains("stop that one"), "{refused}");
    let scribes = talk(&store, &tenant(), 1, 1).await;
    drop(store);
    assert_whole(&SqliteStore::open(folder.path()).unwrap(), &scribes).await;
}

#[tokio::test]
async fn each_owner_writes_with_a_higher_generation() {
    let folder = tempfile::tempdir().unwrap();
    let mut fences = Vec::new();
    for _ in 0..3 {
        fences.push(SqliteStore::open(folder.path()).unwrap().fence());
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/b");
    let store = SqliteStore::open(&folder).unwrap();
    talk(&store, &tenant(), 1, 1).await;
    store.put_blob(Bytes::from_static(b"secret")).await.unwrap();
    let mut seen = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                seen += 1;
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
            }
        }
    }
    assert!(seen >= 5, "lock, database, WAL, its index, a blob; seen {seen}");
}

#[test]
fn an_open_folder_is_closed_when_empty_and_refused_when_it_is_somebodys() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);

    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("diary.txt"), "dear diary").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = refusal(home.path());
    assert!(matches!(refused, OpenError::Permissions { .. }), "{refused:?}");
    assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let other = Connection::open(database(folder.path())).unwrap();
    other.execute_batch("CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('soup')").unwrap();
    drop(other);
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::NotAStore { .. }), "{refused:?}");
    let soup: String =
        stranger(folder.path()).query_row("SELECT name FROM recipe", (), |row| row.get(0)).unwrap();
    assert_eq!(soup, "soup");

    let folder = tempfile::tempdir().unwrap();
    fs::write(database(folder.path()), "this is a text file, and long enough to be one. ".repeat(99))
        .unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("restore the last backup"), "{refused}");
}

#[tokio::test]
async fn a_newer_store_is_refused_and_unharmed() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 1, 1).await;
    drop(store);
    let known: u32 =
        stranger(folder.path()).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    stranger(folder.path()).pragma_update(None, "user_version", known + 1).unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Newer { found, .. } if found == known + 1), "{refused:?}");
    stranger(folder.path()).pragma_update(None, "user_version", known).unwrap();
    assert_whole(&SqliteStore::open(folder.path()).unwrap(), &scribes).await;
}

/// A store as the first version left it.
fn make_version_one(folder: &Path) {
    let raw = stranger(folder);
    raw.execute_batch(
        "DROP INDEX session_busy; DROP INDEX audit_tenant; DROP TABLE turn; DROP TABLE approval; \
         DROP TABLE question; \
         CREATE TABLE approval (id BLOB PRIMARY KEY, session INTEGER NOT NULL, expires INTEGER NOT NULL) \
         STRICT, WITHOUT ROWID; CREATE INDEX approval_session ON approval (session); \
         ALTER TABLE key DROP COLUMN device; \
         ALTER TABLE usage DROP COLUMN principal; ALTER TABLE usage DROP COLUMN namespace",
    )
    .unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
}

#[tokio::test]
async fn an_upgrade_killed_between_any_two_statements_is_done_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 3, 2).await;
    drop(store);
    make_version_one(folder.path());
    let statements: Vec<&str> = SECOND_STEP.split_inclusive(';').collect();
    assert!(statements.len() > 2);
    for done in 0..=statements.len() {
        let copy = tempfile::tempdir().unwrap();
        let killed = tempfile::tempdir().unwrap();
        copy_as_after_a_crash(folder.path(), copy.path());
        let raw = stranger(copy.path());
        raw.execute_batch("BEGIN IMMEDIATE").unwrap();
        // Spilled to the disk as early as it can be.
        raw.pragma_update(None, "cache_size", 1).unwrap();
        statements[..done].iter().for_each(|statement| raw.execute_batch(statement).unwrap());
        copy_as_after_a_crash(copy.path(), killed.path());
        let store = SqliteStore::open(killed.path()).unwrap();
        let mut scribes = scribes.clone();
        assert_whole(&store, &scribes).await;
        scribes[0].fence = store.fence();
        say(&store, &mut scribes[0]).await;
        assert_whole(&store, &scribes).await;
        let indexes: i64 = stranger(killed.path())
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name IN ('session_busy', 'audit_tenant')",
                (),
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(indexes, 2);
    }
}

/// Run by hand, in a release build: `cargo test --release -p moongate-store --test faults -- --ignored
/// --nocapture start`.
#[tokio::test]
#[ignore = "prints figures for a person to judge"]
async fn figures_of_a_start_with_a_hundred_thousand_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 1, 1).await;
    drop(store);
    stranger(folder.path())
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
             INSERT INTO session SELECT i, randomblob(16), tenant, door, alias, owner, namespace, agent, state, \
             archived, busy, epoch, head, fence, updated + i, tail, view FROM session, n WHERE no = 1",
        )
        .unwrap();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let store = SqliteStore::open(folder.path()).unwrap();
        let opened = start.elapsed();
        store.unfinished().await.unwrap();
        let first = store.read(scribes[0].id, moongate_protocol::Seq::ZERO, 9).await.unwrap();
        let read = start.elapsed();
        let query = moongate_core::ListQuery { limit: 50, ..Default::default() };
        let listed = store.list(&tenant(), &query).await.unwrap();
        let owner = Some("nobody".parse().unwrap());
        let listing = start.elapsed();
        store.list(&tenant(), &moongate_core::ListQuery { owner, ..query }).await.unwrap();
        println!(
            "opened {opened:?}, {} events read {read:?}, {} sessions listed {listing:?}, another's {:?}",
            first.len(),
            listed.len(),
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 1, 1).await;
    drop(store);
    make_version_one(folder.path());
    // In the way of the step's second statement; its first one would succeed.
    stranger(folder.path()).execute_batch("CREATE INDEX audit_tenant ON audit (at)").unwrap();
    assert!(matches!(refusal(folder.path()), OpenError::Other { .. }));
    let raw = stranger(folder.path());
    let made: i64 = raw
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'session_busy'", (), |row| row.get(0))
        .unwrap();
    let version: u32 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!((made, version), (0, 1));
    raw.execute_batch("DROP INDEX audit_tenant").unwrap();
    drop(raw);
    assert_whole(&SqliteStore::open(folder.path()).unwrap(), &scribes).await;
}
