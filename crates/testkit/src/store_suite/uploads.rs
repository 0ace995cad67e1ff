//! Promises about files that are sent ahead of the inputs that use them.

use bytes::Bytes;
use moongate_core::{Store, Upload, UploadPlace};
use moongate_protocol::{FileId, Timestamp};

use super::scribe::{tenant, unique};

fn place(alias: &str) -> UploadPlace {
    UploadPlace {
        tenant: tenant(),
        owner: "bob".parse().unwrap(),
        door: "a".into(),
        alias: alias.parse().unwrap(),
    }
}

fn upload(at: i64, bytes: u64) -> Upload {
    let random = u128::from(unique()).to_be_bytes();
    let id = FileId::new(Timestamp::from_millis(at), random[6..].try_into().unwrap());
    Upload { id, name: "nötes.txt".into(), media_type: "text/plain".into(), bytes }
}

async fn send(store: &dyn Store, place: &UploadPlace, upload: &Upload, pieces: &[&str]) -> bool {
    let mut arriving = store.uploads().begin().await.unwrap();
    for piece in pieces {
        arriving.write(Bytes::copy_from_slice(piece.as_bytes())).await.unwrap();
    }
    arriving.keep(place, upload.clone(), 8).await.unwrap()
}

pub(super) async fn files_are_their_places_and_have_a_bound(store: &dyn Store) {
    let (here, uploads) = (place("s"), store.uploads());
    let (first, second, third) = (upload(1_000_000, 5), upload(1_000_000, 4), upload(1_000_000, 3));
    drop(uploads.begin().await.unwrap());
    assert!(send(store, &here, &first, &["he", "", "llo"]).await);
    assert!(!send(store, &here, &second, &["more"]).await, "they would be nine bytes");
    assert!(send(store, &here, &third, &["you"]).await);
    assert_eq!(uploads.get(&here, first.id).await.unwrap(), Some((first.clone(), false)));
    assert_eq!(uploads.get(&here, second.id).await.unwrap(), None);
    for (most, expected) in [(0, ""), (2, "he"), (5, "hello"), (99, "hello")] {
        assert_eq!(uploads.read(&here, first.id, most).await.unwrap().unwrap(), expected);
    }
    let owner = "eve".parse().unwrap();
    let foreign = [
        UploadPlace { owner, ..here.clone() },
        UploadPlace { door: "b".into(), ..here.clone() },
        UploadPlace { alias: "t".parse().unwrap(), ..here.clone() },
        UploadPlace { tenant: tenant(), ..here.clone() },
    ];
    for other in &foreign {
        assert_eq!(uploads.get(other, first.id).await.unwrap(), None);
        assert_eq!(uploads.read(other, first.id, 9).await.unwrap(), None);
        uploads.mark_used(other, first.id).await.unwrap();
        uploads.forget(other).await.unwrap();
    }
    assert_eq!(uploads.get(&here, first.id).await.unwrap(), Some((first.clone(), false)));
    uploads.forget(&here).await.unwrap();
    assert_eq!(uploads.get(&here, first.id).await.unwrap(), None);
    assert!(send(store, &here, &second, &["more"]).await);
}

pub(super) async fn files_no_input_used_go_after_their_time(store: &dyn Store) {
    let (here, uploads) = (place("s"), store.uploads());
    // Old enough that no other promise's files go with them.
    let (old, used, later) = (upload(1_000, 1), upload(1_000, 1), upload(2_000, 1));
    for upload in [&old, &used, &later] {
        assert!(send(store, &here, upload, &["x"]).await);
    }
    uploads.mark_used(&here, used.id).await.unwrap();
    uploads.mark_used(&here, used.id).await.unwrap();
    uploads.sweep(Timestamp::from_millis(2_000)).await.unwrap();
    assert_eq!(uploads.get(&here, old.id).await.unwrap(), None);
    assert_eq!(uploads.read(&here, old.id, 1).await.unwrap(), None);
    assert_eq!(uploads.get(&here, used.id).await.unwrap(), Some((used.clone(), true)));
    assert_eq!(uploads.get(&here, later.id).await.unwrap(), Some((later.clone(), false)));
    uploads.sweep(Timestamp::from_millis(2_001)).await.unwrap();
    assert_eq!(uploads.get(&here, later.id).await.unwrap(), None);
    assert_eq!(uploads.read(&here, used.id, 1).await.unwrap().unwrap(), "x");
}
