//! Both engines keep the contract.

use std::sync::Arc;

use moongate_core::{MemoryStore, Store};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite;

#[tokio::test]
async fn memory_keeps_the_contract() {
    store_suite::run_all(&MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    store_suite::run_all(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_contract_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let tasks = store_suite::CASES.iter().map(|(_, case)| {
        let store = store.clone();
        tokio::spawn(async move { case(&*store).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn sqlite_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).unwrap();
        store
    };
    store_suite::survives_reopening(open).await;
}
