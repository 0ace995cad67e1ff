//! Promises about what people are asked: approvals and questions.

use moongate_core::{ApprovalRow, AskFilter, AskQuery, QuestionRow, Store};
use moongate_protocol::{ApprovalId, Event, QuestionId, Seq, SessionId, Tenant, Timestamp};

use super::scribe::{Scribe, event, tenant, unique};

pub(super) async fn approvals_are_open_until_somebody_or_the_turns_end_decides(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "hi").await;
    let ids = [unique(), unique(), unique()];
    let asked = vec![
        event::started(1, &[]),
        event::asks(1, ids[0], 3_000),
        event::asks(1, ids[1], 1_000),
        event::asks(1, ids[2], 2_000),
    ];
    let first = scribe.head().plus(2);
    scribe.write(store, asked).await;
    let of = |i: usize| ApprovalId::from_bits(u128::from(ids[i]));
    let row = |i: usize, expires_at| ApprovalRow {
        id: of(i),
        session: scribe.id,
        asked: first.plus(i),
        expires_at: Timestamp::from_millis(expires_at),
        closed: None,
    };
    let rows = [row(0, 3_000), row(1, 1_000), row(2, 2_000)];
    let all = |filter| AskQuery { filter, limit: 9, ..AskQuery::default() };
    let open = async |query: AskQuery| store.approvals(&tenant, &query).await.unwrap();
    assert_eq!(open(all(AskFilter::Open)).await, [rows[1], rows[2], rows[0]]);
    let one = AskQuery { limit: 1, ..all(AskFilter::Open) };
    assert_eq!(open(one).await, [rows[1]]);
    let mine = |owner: &str, session| AskQuery {
        owner: Some(owner.parse().unwrap()),
        session: Some(session),
        ..all(AskFilter::Open)
    };
    assert_eq!(open(mine("bob", scribe.id)).await.len(), 3);
    assert_eq!(open(mine("eve", scribe.id)).await, []);
    assert_eq!(open(mine("bob", SessionId::from_bits(u128::from(unique())))).await, []);
    let elsewhere = super::scribe::tenant();
    assert_eq!(store.approvals(&elsewhere, &all(AskFilter::Open)).await.unwrap(), []);
    assert_eq!(store.approval(&tenant, of(0)).await.unwrap(), Some(rows[0]));
    assert_eq!(store.approval(&elsewhere, of(0)).await.unwrap(), None);
    let second = write_one(&mut scribe, store, event::decides(1, ids[1])).await;
    let third = write_one(&mut scribe, store, event::decides(1, ids[2])).await;
    assert_eq!(open(all(AskFilter::Open)).await, [rows[0]]);
    let end = write_one(&mut scribe, store, event::ended(1)).await;
    assert_eq!(open(all(AskFilter::Open)).await, []);
    let decided = |row: ApprovalRow, by| ApprovalRow { closed: Some(by), ..row };
    let latest = [decided(rows[0], end), decided(rows[2], third), decided(rows[1], second)];
    assert_eq!(open(all(AskFilter::Closed)).await, latest);
    assert_eq!(store.approval(&tenant, of(1)).await.unwrap(), Some(latest[2]), "what was decided is known");
}

pub(super) async fn questions_are_open_until_somebody_or_the_turns_end_answers(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "hi").await;
    let ids = [unique(), unique(), unique()];
    let of = |i: usize| QuestionId::from_bits(u128::from(ids[i]));
    let asked = vec![
        event::started(1, &[]),
        event::inquires(1, ids[0], 3_000),
        // An approval beside it is no question.
        event::asks(1, unique(), 500),
        event::inquires(1, ids[1], 1_000),
        event::inquires(1, ids[2], 2_000),
    ];
    let first = scribe.head().plus(2);
    scribe.write(store, asked).await;
    let row = |i: usize, after: usize, expires_at| QuestionRow {
        id: of(i),
        session: scribe.id,
        asked: first.plus(after),
        expires_at: Timestamp::from_millis(expires_at),
        closed: None,
    };
    let rows = [row(0, 0, 3_000), row(1, 2, 1_000), row(2, 3, 2_000)];
    let all = |filter| AskQuery { filter, limit: 9, ..AskQuery::default() };
    let listed = async |query: AskQuery| store.questions(&tenant, &query).await.unwrap();
    assert_eq!(listed(all(AskFilter::Open)).await, [rows[1], rows[2], rows[0]]);
    assert_eq!(listed(AskQuery { limit: 1, ..all(AskFilter::Open) }).await, [rows[1]]);
    let of_owner = |owner: &str, session| AskQuery {
        owner: Some(owner.parse().unwrap()),
        session: Some(session),
        ..all(AskFilter::Open)
    };
    assert_eq!(listed(of_owner("bob", scribe.id)).await.len(), 3);
    assert_eq!(listed(of_owner("eve", scribe.id)).await, []);
    assert_eq!(listed(of_owner("bob", SessionId::from_bits(u128::from(unique())))).await, []);
    let elsewhere = super::scribe::tenant();
    assert_eq!(store.questions(&elsewhere, &all(AskFilter::Open)).await.unwrap(), []);
    assert_eq!(store.question(&tenant, of(0)).await.unwrap(), Some(rows[0]));
    assert_eq!(store.question(&elsewhere, of(0)).await.unwrap(), None);
    let second = write_one(&mut scribe, store, event::answers(1, ids[1])).await;
    write_one(&mut scribe, store, event::answers(1, ids[1])).await;
    let end = write_one(&mut scribe, store, event::ended(1)).await;
    assert_eq!(listed(all(AskFilter::Open)).await, []);
    let closed = |row: QuestionRow, by| QuestionRow { closed: Some(by), ..row };
    let mut latest = [closed(rows[0], end), closed(rows[2], end), closed(rows[1], second)];
    latest[..2].sort_by_key(|row| std::cmp::Reverse(row.id));
    assert_eq!(listed(all(AskFilter::Closed)).await, latest);
    assert_eq!(store.question(&tenant, of(1)).await.unwrap(), Some(latest[2]), "the first answer counts");
    store.delete(scribe.id, scribe.fence).await.unwrap();
    assert_eq!(store.question(&tenant, of(1)).await.unwrap(), None);
    // What a fork's log asked before it began was asked elsewhere.
    let mut fork = Scribe::new(store, &tenant);
    let asked = vec![event::created(None, None), event::started(1, &[]), event::inquires(1, unique(), 5)];
    let forked = [asked, vec![event::forked(scribe.id, scribe.head())]].concat();
    fork.write(store, forked).await;
    assert_eq!(listed(all(AskFilter::Open)).await, []);
}

/// Where the approvals that wait for somebody are.
pub(super) async fn open_approvals(store: &dyn Store, tenant: &Tenant) -> Vec<ApprovalRow> {
    let query = AskQuery { limit: 99, ..AskQuery::default() };
    store.approvals(tenant, &query).await.unwrap()
}

/// Writes an event; where it stands, and when.
async fn write_one(scribe: &mut Scribe, store: &dyn Store, event: Event) -> (Seq, Timestamp) {
    let at = scribe.now;
    scribe.write(store, vec![event]).await;
    (scribe.head(), at)
}
