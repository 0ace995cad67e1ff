//! A full disk: refused without loss, and over when there is room again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use moongate_core::{Store, StoreError};
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::event;

use crate::{assert_whole, say, talk, tenant};

/// A small disk in memory, gone when the value is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, size: &str) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(path)
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self(path.to_path_buf()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_heals_without_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let Some(_disk) = Disk::mount(place.path(), "64m") else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let filler = place.path().join("filler");
    fs::write(&filler, vec![1; 44 << 20]).unwrap();
    let folder = place.path().join("data");
    let store = SqliteStore::open(&folder).unwrap();
    let mut scribes = talk(&store, &tenant(), 4, 2).await;
    let long = "x".repeat(20_000);
    let mut refused = 0;
    for i in 0..4_000 {
        match scribes[i % 4].try_write(&*store, vec![event::said(1, &long)]).await {
            Ok(()) => {}
            Err(StoreError::DiskFull) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        if refused > 20 {
            break;
        }
    }
    assert!(refused > 20, "the disk was never full");
    let blob = store.put_blob(Bytes::from(vec![1; 40 << 20])).await;
    assert!(matches!(blob, Err(StoreError::DiskFull)), "{blob:?}");
    assert_eq!(store.fault(), None);
    for scribe in &scribes {
        assert_eq!(scribe.read_all(&*store).await, scribe.written);
    }

    fs::remove_file(&filler).unwrap();
    for scribe in &mut scribes {
        say(&store, scribe).await;
    }
    assert_whole(&store, &scribes).await;
    assert_eq!(store.search(&tenant(), "question", 99).await.unwrap().len(), 12);
    drop(store);
    assert_whole(&SqliteStore::open(&folder).unwrap(), &scribes).await;
}
