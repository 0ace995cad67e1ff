//! Reads that nobody attends to.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use moongate_core::Store;
use moongate_protocol::Seq;
use moongate_store::SqliteStore;

use crate::{talk, tenant};

/// A socket has several waits and attends to one of them at a time: the others must hold up nobody.
#[tokio::test]
async fn a_read_that_is_not_attended_to_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 1, 1).await;
    let session = scribes[0].id;
    // More than can read at once: some wait for their place when they are left alone.
    let mut left_alone: Vec<_> = (0..64).map(|_| store.read(session, Seq::ZERO, 10)).collect();
    for read in &mut left_alone {
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let read = tokio::time::timeout(Duration::from_secs(10), store.session(session)).await;
    assert_eq!(read.expect("reads go on").unwrap(), Some(scribes[0].row()));
    for read in left_alone {
        assert!(!read.await.unwrap().is_empty());
    }
    store.close().await;
}
