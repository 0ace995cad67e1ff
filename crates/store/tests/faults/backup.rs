//! Copies made while the store is in use, and what comes back from them.

use std::{fs, sync::Arc};

use bytes::Bytes;
use moongate_core::{Store, StoreAdmin, Summary};
use moongate_protocol::{Seq, Timestamp};
use moongate_store::{OpenError, SqliteStore, restore};
use moongate_testkit::store_suite::{Scribe, event};

use crate::{say, talk, tenant};

/// A text as it was written, without the epoch it begins with.
fn after_epoch(json: &str) -> &str {
    let (_, rest) = json.split_once(',').unwrap();
    rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_during_writes_is_a_prefix_of_every_session_under_new_epochs() {
    let place = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&place.path().join("data")).unwrap();
    let mut scribes = talk(&store, &tenant(), 16, 2).await;
    let keyed = scribes[0].write_keyed(&*store, vec![event::input(1, "keyed")], "key").await;
    let blob = store.put_blob(Bytes::from_static(b"attached")).await.unwrap();
    let at_start: Vec<Seq> = scribes.iter().map(Scribe::head).collect();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = scribes
        .into_iter()
        .map(|mut scribe| {
            let (store, stopped) = (store.clone(), stopped.clone());
            tokio::spawn(async move {
                while !*stopped.borrow() {
                    say(&store, &mut scribe).await;
                }
                scribe
            })
        })
        .collect();
    let copy = place.path().join("copy");
    store.backup(&copy).await.unwrap();
    stop.send(true).unwrap();
    let mut scribes = Vec::new();
    for writer in writers {
        scribes.push(writer.await.unwrap());
    }
    assert!(store.backup(&copy).await.is_err(), "a backup never overwrites");

    let restored = place.path().join("restored");
    assert_eq!(restore(&copy, &restored).unwrap().sessions, 16);
    assert!(matches!(restore(&copy, &restored), Err(OpenError::NotEmpty { .. })));
    let copy = SqliteStore::open(&restored).unwrap();
    assert_eq!(copy.check().await.unwrap().faults, []);
    assert_eq!(copy.blob(blob).await.unwrap(), Some(Bytes::from_static(b"attached")));
    for (scribe, least) in scribes.iter().zip(at_start) {
        assert_restored(&copy, scribe, least).await;
    }
    let row = copy.session(scribes[0].id).await.unwrap().unwrap();
    let found = copy.idempotency(&keyed.name).await.unwrap().unwrap();
    assert_eq!((found.position.epoch, found.position.seq), (row.view.head.epoch, keyed.position.seq));
    assert_eq!(copy.search(&tenant(), "keyed", 9).await.unwrap().len(), 1);
    // The rows can be built anew under the new epoch, and the older one's store still works.
    assert_eq!(copy.rebuild().await.unwrap().faults, []);
    assert_eq!(copy.check().await.unwrap().faults, []);
    assert_eq!(store.check().await.unwrap().faults, []);
}

async fn assert_restored(copy: &Arc<SqliteStore>, scribe: &Scribe, least: Seq) {
    let records = copy.read(scribe.id, Seq::ZERO, usize::MAX).await.unwrap();
    assert!(records.len() as u64 >= least.0 && records.len() <= scribe.written.len());
    let row = copy.session(scribe.id).await.unwrap().unwrap();
    let epoch = row.view.head.epoch;
    assert_ne!(epoch, scribe.epoch);
    for (record, written) in records.iter().zip(&scribe.written) {
        let text = std::str::from_utf8(record.json()).unwrap();
        assert_eq!(after_epoch(text), after_epoch(written));
        assert!(text.starts_with(&format!("{{\"epoch\":\"{epoch}\",")), "{text}");
        assert_eq!(record.envelope().unwrap().position(), record.position());
        assert_eq!(record.position().epoch, epoch);
    }
    // The conversation goes on, under the new epoch.
    let summary = Summary::fold(records.iter().map(|record| record.envelope().unwrap())).unwrap();
    assert_eq!(*summary.view(), row.view);
    let mut next = scribe.clone();
    next.epoch = epoch;
    next.fence = copy.fence();
    next.now = row.view.updated_at.plus(std::time::Duration::from_secs(1));
    next.written = records.iter().map(|r| String::from_utf8(r.json().to_vec()).unwrap()).collect();
    next.summary = Some(summary);
    say(copy, &mut next).await;
    assert_eq!(next.read_all(&**copy).await, next.written);
    assert!(next.now > Timestamp::default());
}

#[tokio::test]
async fn a_folder_that_a_crash_left_can_be_restored_from_but_not_one_in_use() {
    let place = tempfile::tempdir().unwrap();
    let (data, crashed) = (place.path().join("data"), place.path().join("crashed"));
    let store = SqliteStore::open(&data).unwrap();
    let scribes = talk(&store, &tenant(), 2, 3).await;
    assert!(matches!(restore(&data, &place.path().join("x")), Err(OpenError::Locked { .. })));
    fs::create_dir(&crashed).unwrap();
    crate::copy_as_after_a_crash(&data, &crashed);
    let restored = place.path().join("restored");
    assert_eq!(restore(&crashed, &restored).unwrap().sessions, 2);
    let copy = SqliteStore::open(&restored).unwrap();
    for scribe in &scribes {
        assert_restored(&copy, scribe, scribe.head()).await;
    }
}

#[tokio::test]
async fn what_is_not_a_backup_is_refused_and_nothing_is_left_behind() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir(&from).unwrap();
    assert!(matches!(restore(&from, &to), Err(OpenError::NotAStore { .. })));
    fs::write(from.join("moongate.db"), "rubbish ".repeat(1000)).unwrap();
    assert!(matches!(restore(&from, &to), Err(OpenError::Damaged { .. })));
    assert!(!to.exists());
    // A half-made copy of an earlier try is in nobody's way.
    let store = SqliteStore::open(&place.path().join("data")).unwrap();
    let scribes = talk(&store, &tenant(), 1, 1).await;
    let copy = place.path().join("copy");
    store.backup(&copy).await.unwrap();
    assert_eq!(restore(&copy, &to).unwrap().sessions, 1);
    let opened = SqliteStore::open(&to).unwrap();
    assert_eq!(opened.read(scribes[0].id, Seq::ZERO, 99).await.unwrap().len(), scribes[0].written.len());
}
