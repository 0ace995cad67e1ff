//! Promises about submissions that are sent again.

use moongate_core::{KeyPlace, Store, StoreError, SubmissionKey};
use moongate_protocol::{SessionId, Timestamp};

use super::scribe::{Scribe, event, tenant, unique};

pub(super) async fn a_submission_is_remembered_until_it_is_swept(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    // Long before the other cases, whose rows must not be swept away under them.
    scribe.now = Timestamp::from_millis(1_000);
    scribe.begin(store, "hi").await;
    let old = scribe.write_keyed(store, vec![event::input(1, "a")], "key-1").await;
    let new = scribe.write_keyed(store, vec![event::input(2, "b")], "key-2").await;
    let found = async |key: &str| store.idempotency(&scribe.submission(key)).await.unwrap();
    assert_eq!(found("key-1").await, Some(old));
    assert_eq!(found("key-2").await.as_ref(), Some(&new));
    assert_eq!(found("key-3").await, None);
    let other = SessionId::from_bits(u128::from(unique()) << 64);
    let elsewhere = SubmissionKey { place: KeyPlace::Session(other), ..scribe.submission("key-1") };
    assert_eq!(store.idempotency(&elsewhere).await.unwrap(), None);
    let anothers = SubmissionKey { by: "eve".parse().unwrap(), ..scribe.submission("key-1") };
    assert_eq!(store.idempotency(&anothers).await.unwrap(), None);
    store.sweep(new.at).await.unwrap();
    assert_eq!(found("key-1").await, None);
    assert_eq!(found("key-2").await, Some(new));
}

pub(super) async fn a_name_that_counts_in_all_sessions_of_a_door_is_used_in_one(store: &dyn Store) {
    let (tenant, elsewhere) = (tenant(), tenant());
    let mut scribes = Vec::new();
    for tenant in [&tenant, &tenant, &elsewhere] {
        let mut scribe = Scribe::new(store, tenant);
        scribe.begin(store, "hi").await;
        scribes.push(scribe);
    }
    let [first, second, foreign] = &mut scribes[..] else { panic!("three") };
    let place = KeyPlace::Door(tenant.clone(), "native".into());
    let name = SubmissionKey { place, ..first.submission("key") };
    assert_eq!(store.idempotency(&name).await.unwrap(), None);
    let row = first.write_named(store, vec![event::input(unique(), "a")], name.clone()).await.unwrap();
    assert_eq!(store.idempotency(&name).await.unwrap(), Some(row));
    assert_eq!(store.idempotency(&first.submission("key")).await.unwrap(), None, "another space");
    let before = second.read_all(store).await;
    let taken = second.write_named(store, vec![event::input(unique(), "b")], name.clone()).await;
    assert!(matches!(taken, Err(StoreError::KeyTaken)), "{taken:?}");
    assert_eq!(second.read_all(store).await, before, "nothing of it was written");
    // Of others, at other doors and behind other walls it says nothing.
    let eves = SubmissionKey { by: "eve".parse().unwrap(), ..name.clone() };
    second.write_named(store, vec![event::input(unique(), "b")], eves).await.unwrap();
    let place = KeyPlace::Door(elsewhere.clone(), "native".into());
    let theirs = SubmissionKey { place, ..name.clone() };
    foreign.write_named(store, vec![event::input(unique(), "c")], theirs).await.unwrap();
    let place = KeyPlace::Door(tenant.clone(), "orra".into());
    assert_eq!(store.idempotency(&SubmissionKey { place, ..name.clone() }).await.unwrap(), None);
    store.delete(first.id, store.fence()).await.unwrap();
    assert_eq!(store.idempotency(&name).await.unwrap(), None);
    second.write_named(store, vec![event::input(unique(), "b")], name).await.unwrap();
}
