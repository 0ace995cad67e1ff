//! Promises about keys, the audit log and blobs, and about opening a store again.

use std::sync::Arc;

use bytes::Bytes;
use moongate_core::{AskQuery, AuditEntry, Device, KeyRow, Scope, Store, UsageGroup, UsageQuery};
use moongate_protocol::{BlobHash, KeyId, Tenant, Timestamp};

use super::scribe::{Scribe, event, tenant, unique};

fn key(tenant: &Tenant, at: i64) -> KeyRow {
    KeyRow {
        id: KeyId::from_bits(u128::from(unique())),
        tenant: tenant.clone(),
        principal: "bob".parse().unwrap(),
        label: "my laptop\nand more".into(),
        secret_hash: [9; 32],
        scopes: [Scope::SessionsRead, Scope::KeysManage].into_iter().collect(),
        agents: vec!["main".parse().unwrap(), "coder".parse().unwrap()],
        namespaces: vec![],
        networks: vec!["10.0.0.0/8".into()],
        created_at: Timestamp::from_millis(at),
        expires_at: Some(Timestamp::from_millis(at + 5)),
        revoked_at: None,
        device: None,
    }
}

pub(super) async fn keys_are_kept_changed_and_listed(store: &dyn Store) {
    let tenant = tenant();
    let (older, newer, other) = (key(&tenant, 1), key(&tenant, 2), key(&super::scribe::tenant(), 3));
    for key in [&newer, &older, &other] {
        store.put_key(key.clone()).await.unwrap();
    }
    assert_eq!(store.key(older.id).await.unwrap(), Some(older.clone()));
    assert_eq!(store.keys(&tenant).await.unwrap(), [newer.clone(), older.clone()]);
    let device = Some(Device { name: Some("tablet".into()), ..Device::default() });
    let revoked = KeyRow { revoked_at: Some(Timestamp::from_millis(9)), device, ..newer.clone() };
    store.put_key(revoked.clone()).await.unwrap();
    assert_eq!(store.key(newer.id).await.unwrap(), Some(revoked.clone()));
    assert_eq!(store.keys(&tenant).await.unwrap(), [revoked, older]);
    assert_eq!(store.key(KeyId::from_bits(0)).await.unwrap(), None);
}

pub(super) async fn audit_entries_are_listed_newest_first(store: &dyn Store) {
    let tenant = tenant();
    let entry = |number: i64, from: Option<&str>| AuditEntry {
        at: Timestamp::from_millis(number),
        tenant: tenant.clone(),
        principal: "bob".parse().unwrap(),
        action: "key.created".into(),
        object: format!("key {number}"),
        from: from.map(str::to_owned),
    };
    let entries = [entry(1, None), entry(2, Some("10.0.0.1")), entry(2, None)];
    for entry in &entries {
        store.audit(entry.clone()).await.unwrap();
    }
    let [a, b, c] = entries;
    assert_eq!(store.audit_entries(&tenant, 2).await.unwrap(), [c.clone(), b.clone()]);
    assert_eq!(store.audit_entries(&tenant, 9).await.unwrap(), [c, b, a]);
    assert_eq!(store.audit_entries(&super::scribe::tenant(), 9).await.unwrap(), []);
}

pub(super) async fn blobs_are_kept_under_their_hash(store: &dyn Store) {
    let bytes = Bytes::from(format!("attachment {}", unique()));
    let hash = store.put_blob(bytes.clone()).await.unwrap();
    assert_eq!(store.put_blob(bytes.clone()).await.unwrap(), hash);
    assert_eq!(store.blob(hash).await.unwrap(), Some(bytes));
    let empty = store.put_blob(Bytes::new()).await.unwrap();
    let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(empty.to_string(), known);
    assert_eq!(store.blob(empty).await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.blob(BlobHash([0; 32])).await.unwrap(), None);
}

pub(super) async fn everything_survives_reopening(open: impl AsyncFn() -> Arc<dyn Store>) {
    let tenant = tenant();
    let store = open().await;
    let first_fence = store.fence();
    let mut scribe = Scribe::new(&*store, &tenant);
    scribe.write(&*store, vec![event::created(Some("kept title"), Some("kept"))]).await;
    let keyed = scribe.write_keyed(&*store, vec![event::input(1, "kept words")], "kept").await;
    scribe.write(&*store, event::turn(1, 1, "an answer")).await;
    scribe
        .write(
            &*store,
            vec![event::started(2, &[]), event::asks(2, unique(), 5), event::inquires(2, unique(), 5)],
        )
        .await;
    let kept_key = key(&tenant, 1);
    store.put_key(kept_key.clone()).await.unwrap();
    let blob = store.put_blob(Bytes::from_static(b"kept")).await.unwrap();
    drop(store);
    for _ in 0..2 {
        let store = open().await;
        assert!(store.fence() > first_fence);
        assert_eq!(scribe.read_all(&*store).await, scribe.written);
        assert_eq!(store.session(scribe.id).await.unwrap(), Some(scribe.row()));
        let alias = "kept".parse().unwrap();
        assert_eq!(store.by_alias(&tenant, "native", &alias).await.unwrap(), Some(scribe.id));
        assert_eq!(store.idempotency(&keyed.name).await.unwrap(), Some(keyed.clone()));
        assert_eq!(store.search(&tenant, "kept words", 9).await.unwrap().len(), 1);
        assert_eq!(super::asks::open_approvals(&*store, &tenant).await.len(), 1);
        let open = AskQuery { limit: 9, ..AskQuery::default() };
        assert_eq!(store.questions(&tenant, &open).await.unwrap().len(), 1);
        let far = Timestamp::from_millis(i64::MAX);
        let sums = store
            .usage(&tenant, &UsageQuery::between(UsageGroup::Day, Timestamp::default(), far))
            .await
            .unwrap();
        assert_eq!(sums.iter().map(|row| row.calls).sum::<u64>(), 1);
        assert!(store.unfinished().await.unwrap().contains(&scribe.id));
        assert_eq!(store.key(kept_key.id).await.unwrap(), Some(kept_key.clone()));
        assert_eq!(store.blob(blob).await.unwrap(), Some(Bytes::from_static(b"kept")));
        scribe.fence = store.fence();
        scribe.write(&*store, vec![event::said(2, "and goes on")]).await;
    }
}
