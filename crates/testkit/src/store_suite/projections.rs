//! Promises about what is derived from the log in the same transaction.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use moongate_core::{
    Bill, BilledCall, ListQuery, Spent, SpentRow, Store, StoreError, UsageGroup, UsageQuery, UsageRow,
};
use moongate_protocol::{
    Event, MicroUsd, Seq, SessionId, SessionState, Tenant, Timestamp, Tokens, UsageRecorded,
};

use super::{
    asks::open_approvals,
    scribe::{Scribe, event, tenant, unique},
};

pub(super) async fn a_row_is_what_its_last_append_said(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.write(store, vec![event::created(Some("a title"), Some("näme"))]).await;
    assert_eq!(store.session(scribe.id).await.unwrap(), Some(scribe.row()));
    for events in [
        vec![event::input(1, "one"), event::input(2, "two")],
        vec![event::started(1, &[1]), event::asks(1, unique(), 99)],
        vec![event::updated(Some("another"), Some(true), Some("other"))],
        vec![event::billed(1, "m", 3, None), event::ended(1)],
    ] {
        scribe.write(store, events).await;
        assert_eq!(store.session(scribe.id).await.unwrap(), Some(scribe.row()));
    }
    let nobody = SessionId::from_bits(u128::from(unique()) << 64);
    assert_eq!(store.session(nobody).await.unwrap(), None);
}

pub(super) async fn an_alias_is_one_sessions_in_its_tenant_and_door(store: &dyn Store) {
    let (here, there) = (tenant(), tenant());
    let alias = "my chat".parse().unwrap();
    let begin = async |tenant: &Tenant, door| {
        let mut scribe = Scribe { door, ..Scribe::new(store, tenant) };
        let begun = scribe.try_write(store, vec![event::created(None, Some("my chat"))]).await;
        begun.map(|()| scribe)
    };
    let first = begin(&here, "native").await.unwrap();
    match begin(&here, "native").await {
        Err(StoreError::AliasTaken(by)) => assert_eq!(by, first.id),
        other => panic!("{other:?}"),
    }
    let second = begin(&here, "oxios").await.unwrap();
    let third = begin(&there, "native").await.unwrap();
    for (tenant, door, scribe) in
        [(&here, "native", &first), (&here, "oxios", &second), (&there, "native", &third)]
    {
        assert_eq!(store.by_alias(tenant, door, &alias).await.unwrap(), Some(scribe.id));
    }
    assert_eq!(store.by_alias(&there, "oxios", &alias).await.unwrap(), None);
    store.delete(first.id, first.fence).await.unwrap();
    assert_eq!(store.by_alias(&here, "native", &alias).await.unwrap(), None);
    // Of those who want it at the same time, one gets it.
    let at_once = join_all((0..8).map(|_| begin(&here, "native"))).await;
    let owner = at_once.iter().find_map(|result| result.as_ref().ok()).unwrap().id;
    assert_eq!(at_once.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(at_once.iter().all(|result| match result {
        Err(StoreError::AliasTaken(by)) => *by == owner,
        other => other.is_ok(),
    }));
}

pub(super) async fn unfinished_sessions_are_found_oldest_first(store: &dyn Store) {
    let tenant = tenant();
    let mut scribes: Vec<Scribe> = Vec::new();
    // Begun in another order than they were last used.
    for minute in [3_i64, 1, 2] {
        let mut scribe = Scribe::new(store, &tenant);
        scribe.now = Timestamp::from_millis(scribe.now.as_millis() + minute * 60_000);
        scribe.write(store, vec![event::created(None, None)]).await;
        scribes.push(scribe);
    }
    let ids = [scribes[0].id, scribes[1].id, scribes[2].id];
    let ours = async || {
        let all = store.unfinished().await.unwrap();
        all.into_iter().filter(|id| ids.contains(id)).collect::<Vec<_>>()
    };
    assert_eq!(ours().await, []);
    scribes[0].write(store, vec![event::input(1, "waits")]).await;
    scribes[1].write(store, vec![event::input(1, "runs"), event::started(1, &[1])]).await;
    scribes[2].write(store, vec![event::started(1, &[]), event::asks(1, unique(), 9)]).await;
    assert_eq!(ours().await, [ids[1], ids[2], ids[0]]);
    scribes[1].write(store, vec![event::ended(1)]).await;
    scribes[0].write(store, event::turn(1, 1, "done")).await;
    assert_eq!(ours().await, [ids[2]]);
}

pub(super) async fn lists_filter_and_page(store: &dyn Store) {
    let tenant = tenant();
    let mut rows = Vec::new();
    for (i, (owner, namespace, archived, agent)) in [
        ("bob", "user:bob", false, "main"),
        ("bob", "user:bob:project:x", true, "main"),
        ("eve", "user:bobby", false, "coder"),
        ("eve", "user:eve", true, "main"),
        ("bob", "user:bob", false, "coder"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut scribe = Scribe::new(store, &tenant);
        // Two share their time, so that a page can end between them.
        scribe.now = Timestamp::from_millis(1_760_000_000_000 + i64::try_from(i / 2).unwrap() * 1_000);
        let created = event::created_by(owner, namespace, None, None);
        scribe.write(store, vec![created, event::updated(None, Some(archived), Some(agent))]).await;
        rows.push(scribe.row());
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.view.updated_at, row.view.id)));
    let list = async |query: ListQuery| store.list(&tenant, &ListQuery { limit: 50, ..query }).await.unwrap();
    let all = list(ListQuery::default()).await;
    assert_eq!(all, rows);
    let with = |keep: fn(&moongate_core::SessionRow) -> bool| {
        rows.iter().filter(|row| keep(row)).cloned().collect::<Vec<_>>()
    };
    let owner = Some("eve".parse().unwrap());
    assert_eq!(
        list(ListQuery { owner, ..Default::default() }).await,
        with(|r| r.view.owner.as_str() == "eve")
    );
    let agent = Some("coder".parse().unwrap());
    assert_eq!(
        list(ListQuery { agent, ..Default::default() }).await,
        with(|r| r.view.agent.as_str() == "coder")
    );
    let namespace = Some("user:bob".parse().unwrap());
    let beneath = list(ListQuery { namespace, ..Default::default() }).await;
    assert_eq!(beneath, with(|r| r.view.owner.as_str() == "bob"));
    for archived in [true, false] {
        let some = list(ListQuery { archived: Some(archived), ..Default::default() }).await;
        assert!(some.iter().all(|row| row.view.archived == archived) && !some.is_empty());
    }
    let state = Some(SessionState::Running);
    assert_eq!(list(ListQuery { state, ..Default::default() }).await, []);
    for size in 1..=3 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let query = ListQuery { limit: size, after, ..Default::default() };
            let page = store.list(&tenant, &query).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some((last.view.updated_at, last.view.id));
            paged.extend(page);
        }
        assert_eq!(paged, rows);
    }
    assert_eq!(
        store.list(&super::scribe::tenant(), &ListQuery { limit: 9, ..Default::default() }).await.unwrap(),
        []
    );
}

pub(super) async fn usage_is_summed_between_two_times(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.now = "2026-03-01T23:59:58Z".parse().unwrap();
    let begin = scribe.now;
    scribe.write(store, vec![event::created(None, None)]).await;
    scribe.write(store, vec![event::billed(1, "a/x", 5, Some(7))]).await;
    scribe.write(store, vec![event::billed(1, "a/x", 6, None), event::billed(1, "b/y", 7, Some(1))]).await;
    let end = scribe.now;
    let sums =
        async |group, from, to| store.usage(&tenant, &UsageQuery::between(group, from, to)).await.unwrap();
    let row = |group: &str, calls: u64, output, cost, unpriced_calls| UsageRow {
        group: group.into(),
        tokens: Tokens {
            input: 10 * calls,
            output,
            reasoning: calls,
            cache_read: 2 * calls,
            cache_write: 3 * calls,
        },
        calls,
        cost: MicroUsd(cost),
        unpriced_calls,
    };
    assert_eq!(
        sums(UsageGroup::Day, begin, end).await,
        [row("2026-03-01", 1, 5, 7, 0), row("2026-03-02", 2, 13, 1, 1)]
    );
    assert_eq!(sums(UsageGroup::Model, begin, end).await, [row("a/x", 2, 11, 7, 1), row("b/y", 1, 7, 1, 0)]);
    assert_eq!(sums(UsageGroup::Agent, begin, end).await, [row("main", 3, 18, 8, 1)]);
    assert_eq!(sums(UsageGroup::Session, begin, end).await, [row(&scribe.id.to_string(), 3, 18, 8, 1)]);
    let all = || UsageQuery::between(UsageGroup::Agent, begin, end);
    let bob = UsageQuery { principal: Some("bob".parse().unwrap()), session: Some(scribe.id), ..all() };
    let eve = UsageQuery { principal: Some("eve".parse().unwrap()), ..all() };
    let elsewhere = UsageQuery { session: Some(SessionId::from_bits(0)), ..all() };
    assert_eq!(store.usage(&tenant, &bob).await.unwrap(), [row("main", 3, 18, 8, 1)]);
    assert_eq!(store.usage(&tenant, &eve).await.unwrap(), []);
    assert_eq!(store.usage(&tenant, &elsewhere).await.unwrap(), []);
    // The first call is at the second second, the others at the third and fourth.
    let second = "2026-03-01T23:59:59Z".parse().unwrap();
    let third = "2026-03-02T00:00:00Z".parse().unwrap();
    assert_eq!(sums(UsageGroup::Agent, second, third).await, [row("main", 1, 5, 7, 0)]);
    assert_eq!(sums(UsageGroup::Agent, begin, second).await, []);
    assert_eq!(
        store
            .usage(&super::scribe::tenant(), &UsageQuery::between(UsageGroup::Day, begin, end))
            .await
            .unwrap(),
        []
    );
}

pub(super) async fn what_was_spent_is_summed_by_account_since_a_time(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.now = "2026-03-01T23:59:58Z".parse().unwrap();
    scribe.write(store, vec![event::created(None, None)]).await;
    scribe.write(store, vec![event::billed(1, "a/x", 5, Some(7))]).await;
    let since = scribe.now;
    scribe.write(store, vec![event::billed(1, "a/x", 6, None), event::billed(1, "b/y", 7, Some(1))]).await;
    let Event::UsageRecorded(anothers) = event::billed(1, "a/x", 8, Some(2)) else { unreachable!() };
    let author = Some("eve".parse().unwrap());
    let agent = Some("coder".parse().unwrap());
    scribe.write(store, vec![Event::UsageRecorded(UsageRecorded { author, agent, ..anothers })]).await;
    let row = |who: &str, agent: &str, spent| SpentRow {
        tenant: tenant.clone(),
        principal: Some(who.parse().unwrap()),
        namespace: Some("user:bob".parse().unwrap()),
        agent: agent.parse().unwrap(),
        spent,
    };
    let sums = async |since| {
        let rows = store.spent(since).await.unwrap().into_iter().filter(|row| row.tenant == tenant);
        let mut sums: BTreeMap<String, Spent> = BTreeMap::new();
        for row in rows {
            let name = format!("{:?} {:?} {}", row.principal, row.namespace, row.agent);
            sums.entry(name).or_default().add(row.spent);
        }
        sums
    };
    let expected = |rows: [SpentRow; 2]| {
        rows.map(|row| (format!("{:?} {:?} {}", row.principal, row.namespace, row.agent), row.spent)).into()
    };
    let spent = |calls, tokens, cost| Spent { cost: MicroUsd(cost), tokens, calls };
    let hers = row("eve", "coder", spent(1, 18, 2));
    assert_eq!(sums(since).await, expected([row("bob", "main", spent(2, 33, 1)), hers.clone()]));
    let begin = Timestamp::from_millis(0);
    assert_eq!(sums(begin).await, expected([row("bob", "main", spent(3, 48, 8)), hers]));
}

pub(super) async fn a_session_that_is_not_kept_is_paid_for_all_the_same(store: &dyn Store) {
    let (tenant, session) = (tenant(), SessionId::from_bits(u128::from(unique())));
    let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let tokens = Tokens { input: 5, output: 3, ..Tokens::default() };
    let (model, cost) = ("a/x".parse().unwrap(), Some(MicroUsd(2)));
    let call = BilledCall { seq: Seq(4), at, model, tokens, cost, author: None, agent: None };
    let bill = Bill {
        tenant: tenant.clone(),
        session,
        principal: "bob".parse().unwrap(),
        namespace: "user:bob".parse().unwrap(),
        agent: "main".parse().unwrap(),
        call,
    };
    store.bill(bill.clone()).await.unwrap();
    assert!(store.spent(at).await.unwrap().contains(&bill.spent()));
    let end = "2026-03-02T00:00:00Z".parse().unwrap();
    let group = session.to_string();
    let row = UsageRow { group, tokens, calls: 1, cost: MicroUsd(2), unpriced_calls: 0 };
    assert_eq!(
        store.usage(&tenant, &UsageQuery::between(UsageGroup::Session, at, end)).await.unwrap(),
        [row]
    );
    assert!(store.session(session).await.unwrap().is_none());
}

pub(super) async fn a_fork_is_not_paid_for_twice(store: &dyn Store) {
    let tenant = tenant();
    let mut original = Scribe::new(store, &tenant);
    let begin = original.now;
    original.begin(store, "hi").await;
    original.write(store, event::turn(1, 1, "answer")).await;
    let mut fork = Scribe::new(store, &tenant);
    let mut events = vec![event::created(None, None), event::input(1, "hi")];
    events.extend([event::started(1, &[1]), event::billed(1, "builtin/demo", 5, Some(1))]);
    events.extend([event::asks(1, unique(), 5), event::forked(original.id, original.head())]);
    fork.write(store, events).await;
    let far = Timestamp::from_millis(i64::MAX);
    let sums = store.usage(&tenant, &UsageQuery::between(UsageGroup::Agent, begin, far)).await.unwrap();
    assert_eq!((sums.len(), sums[0].calls), (1, 1));
    assert_eq!(open_approvals(store, &tenant).await, []);
    fork.write(store, event::turn(2, 2, "more")).await;
    let sums = store.usage(&tenant, &UsageQuery::between(UsageGroup::Session, begin, far)).await.unwrap();
    assert_eq!(sums.iter().map(|row| row.calls).collect::<Vec<_>>(), [1, 1]);
}

pub(super) async fn a_deleted_session_leaves_only_its_usage(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    let begin = scribe.now;
    scribe.write(store, vec![event::created(Some("secret plans"), None)]).await;
    scribe.write_keyed(store, vec![event::input(1, "secret words")], "k").await;
    scribe.write(store, event::turn(1, 1, "secret answer")).await;
    // Found once, so that an engine that indexes late has indexed it.
    assert_eq!(store.search(&tenant, "secret", 9).await.unwrap().len(), 2);
    scribe.write(store, vec![event::started(2, &[]), event::asks(2, unique(), 5)]).await;
    scribe.write(store, vec![event::said(2, "secret afterthought")]).await;
    store.delete(scribe.id, scribe.fence).await.unwrap();
    assert!(matches!(store.delete(scribe.id, scribe.fence).await, Err(StoreError::NotFound)));
    assert!(matches!(
        store.read(scribe.id, moongate_protocol::Seq::ZERO, 1).await,
        Err(StoreError::NotFound)
    ));
    assert_eq!(store.session(scribe.id).await.unwrap(), None);
    assert_eq!(store.search(&tenant, "secret", 9).await.unwrap(), []);
    let text = Some("secret".to_owned());
    assert_eq!(store.list(&tenant, &ListQuery { text, limit: 9, ..Default::default() }).await.unwrap(), []);
    assert_eq!(store.list(&tenant, &ListQuery { limit: 9, ..Default::default() }).await.unwrap(), []);
    assert_eq!(open_approvals(store, &tenant).await, []);
    assert_eq!(store.idempotency(&scribe.submission("k")).await.unwrap(), None);
    assert!(!store.unfinished().await.unwrap().contains(&scribe.id));
    let sums = store
        .usage(&tenant, &UsageQuery::between(UsageGroup::Session, begin, Timestamp::from_millis(i64::MAX)))
        .await;
    assert_eq!(sums.unwrap()[0].calls, 1);
    let late = scribe.try_write(store, vec![event::said(2, "too late")]).await;
    assert!(matches!(late, Err(StoreError::Conflict)));
}
