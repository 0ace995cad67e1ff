//! Promises about the log itself.

use std::sync::Arc;

use futures_util::future::join_all;
use moongate_core::{Fence, Record, Store, StoreError};
use moongate_protocol::{Event, Position, Seq, SessionId, UnknownEvent};

use super::scribe::{Scribe, event, tenant, unique};

pub(super) async fn what_was_appended_is_read_back_byte_for_byte(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.begin(store, "Grüße, 你好, \u{1F600}, \"quoted\"\n\tand \u{0} control").await;
    let fields = serde_fields(&[("later", "thing"), ("zzz", "first")]);
    let unknown = Event::Unknown(UnknownEvent { kind: "x.from-the-future".into(), fields });
    scribe.write(store, vec![unknown]).await;
    scribe.write(store, event::turn(1, 1, "well")).await;
    assert_eq!(scribe.read_all(store).await, scribe.written);
    let records = store.read(scribe.id, Seq::ZERO, 100).await.unwrap();
    for (i, record) in records.iter().enumerate() {
        let at = Position { epoch: scribe.epoch, seq: Seq(i as u64 + 1) };
        assert_eq!(record.position(), at);
        assert_eq!(record.envelope().unwrap().position(), at);
    }
}

fn serde_fields(fields: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

pub(super) async fn a_read_starts_after_a_number_and_ends_at_its_limit(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.begin(store, "hi").await;
    for turn in 0..5 {
        scribe.write(store, event::turn(turn, turn, "yes")).await;
    }
    let head = scribe.head().0;
    for after in 0..=head + 1 {
        for limit in [0, 1, 2, 3, 100] {
            let read = store.read(scribe.id, Seq(after), limit).await.unwrap();
            let seqs: Vec<u64> = read.iter().map(|record| record.position().seq.0).collect();
            let expected: Vec<u64> = (after + 1..=head).take(limit).collect();
            assert_eq!(seqs, expected, "after {after}, at most {limit}");
        }
    }
    assert!(store.read(scribe.id, Seq(u64::MAX), 1).await.unwrap().is_empty());
    let nobody = SessionId::from_bits(u128::from(unique()) << 64);
    assert!(matches!(store.read(nobody, Seq::ZERO, 1).await, Err(StoreError::NotFound)));
}

pub(super) async fn a_read_is_bounded_in_bytes_and_goes_on(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.begin(store, "hi").await;
    let long = "x".repeat(1 << 20);
    for turn in 0..10 {
        scribe.write(store, vec![event::said(turn, &long)]).await;
    }
    let (mut after, mut reads) = (Seq::ZERO, 0);
    while after < scribe.head() {
        let read = store.read(scribe.id, after, usize::MAX).await.unwrap();
        let bytes: usize = read.iter().map(|record| record.json().len()).sum();
        assert!(!read.is_empty() && bytes < 6 << 20, "{bytes} bytes in {} events", read.len());
        assert_eq!(read[0].position().seq, after.next());
        after = read.last().unwrap().position().seq;
        reads += 1;
    }
    assert!(reads > 1);
}

pub(super) async fn a_wrong_head_is_a_conflict_and_leaves_no_trace(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "hi").await;
    let behind = scribe.clone();
    scribe.write(store, event::turn(1, 1, "answer")).await;
    let mut ahead = scribe.clone();
    (_, ahead) = ahead.plan(vec![event::said(2, "never written")]);
    for mut wrong in [behind, ahead] {
        let (mut append, _) = wrong.plan(vec![event::said(3, "lostword"), event::billed(3, "m", 9, None)]);
        append.idempotency = Some(moongate_core::IdempotencyRow {
            name: wrong.submission("lost"),
            session: wrong.id,
            body_hash: [0; 32],
            input: event::input_id(1),
            position: append.row.view.head,
            queue_length: 1,
            at: wrong.now,
        });
        assert!(matches!(store.append(append).await, Err(StoreError::Conflict)));
        let events = vec![event::asks(3, unique(), 5)];
        assert!(matches!(wrong.try_write(store, events).await, Err(StoreError::Conflict)));
    }
    assert_eq!(scribe.read_all(store).await, scribe.written);
    assert_eq!(store.session(scribe.id).await.unwrap(), Some(scribe.row()));
    assert_eq!(store.search(&tenant, "lostword", 9).await.unwrap(), []);
    assert_eq!(super::asks::open_approvals(store, &tenant).await, []);
    assert_eq!(store.idempotency(&scribe.submission("lost")).await.unwrap(), None);
    let (_, nobody) = Scribe::new(store, &tenant).plan(vec![event::created(None, None)]);
    let (append, _) = nobody.plan(vec![event::said(1, "x")]);
    assert!(matches!(store.append(append).await, Err(StoreError::Conflict)));
}

pub(super) async fn a_session_begins_once(store: &dyn Store) {
    let mut first = Scribe::new(store, &tenant());
    let mut second = first.clone();
    first.begin(store, "hi").await;
    let again = second.try_write(store, vec![event::created(None, None)]).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    assert_eq!(first.read_all(store).await, first.written);
}

pub(super) async fn a_newer_owner_shuts_the_older_out(store: &dyn Store) {
    let mut older = Scribe::new(store, &tenant());
    older.begin(store, "hi").await;
    let mut newer = older.clone();
    newer.fence = Fence(older.fence.0 + 1);
    newer.write(store, vec![event::said(1, "mine now")]).await;
    let mut paused = newer.clone();
    paused.fence = older.fence;
    assert!(matches!(paused.try_write(store, vec![event::said(2, "x")]).await, Err(StoreError::Conflict)));
    assert!(matches!(store.delete(older.id, older.fence).await, Err(StoreError::Conflict)));
    newer.write(store, vec![event::said(3, "still mine")]).await;
    assert_eq!(newer.read_all(store).await, newer.written);
}

pub(super) async fn of_many_writers_with_one_head_one_wins(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.begin(store, "hi").await;
    let plans: Vec<_> = (0..16).map(|turn| scribe.plan(vec![event::said(turn, "me")])).collect();
    let results = join_all(plans.iter().map(|(append, _)| store.append(append.clone()))).await;
    let won: Vec<usize> = (0..16).filter(|&i| results[i].is_ok()).collect();
    assert_eq!(won.len(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(StoreError::Conflict))));
    let winner = &plans[won[0]].1;
    assert_eq!(winner.read_all(store).await, winner.written);
    assert_eq!(store.session(winner.id).await.unwrap(), Some(winner.row()));
}

pub(super) async fn many_sessions_write_at_once_and_conflicts_stay_alone(store: &dyn Store) {
    let tenant = tenant();
    let write = async |wrong: bool| {
        let mut scribe = Scribe::new(store, &tenant);
        scribe.begin(store, "hi").await;
        for turn in 0..8 {
            let mut stale = scribe.clone();
            scribe.write(store, event::turn(turn, turn, "yes")).await;
            if wrong {
                let refused = stale.try_write(store, vec![event::said(turn, "late")]).await;
                assert!(matches!(refused, Err(StoreError::Conflict)));
            }
        }
        assert_eq!(scribe.read_all(store).await, scribe.written);
    };
    join_all((0..32).map(|i| write(i % 3 == 0))).await;
}

pub(super) async fn what_no_correct_writer_asks_is_refused_without_a_trace(store: &dyn Store) {
    let mut scribe = Scribe::new(store, &tenant());
    scribe.begin(store, "hi").await;
    let begun = vec![event::created(None, None), event::input(1, "x")];
    let (_, other) = Scribe::new(store, &scribe.tenant).plan(begun);
    let (good, _) = scribe.plan(vec![event::said(1, "a"), event::said(2, "b")]);
    let (foreign, _) = other.plan(vec![event::said(1, "a"), event::said(2, "b")]);
    let mut empty = good.clone();
    empty.records.clear();
    let mut swapped = good.clone();
    swapped.records.reverse();
    let mut short = good.clone();
    short.records.pop();
    let mut mixed = good.clone();
    mixed.records = foreign.records;
    let mut garbage = good.clone();
    let position = garbage.records[0].position();
    garbage.records[0] = Arc::new(Record::stored(position, bytes::Bytes::from_static(b"{\"no\":1}")));
    for append in [empty, swapped, short, mixed, garbage] {
        assert!(matches!(store.append(append).await, Err(StoreError::Engine(_))));
    }
    assert_eq!(store.fault(), None);
    store.append(good).await.unwrap();
}
