//! The list of turns, and lists by page number.

use moongate_core::{ListQuery, Store, TurnCounts, TurnEnding, TurnQuery};
use moongate_protocol::{Event, TurnId};

use super::scribe::{Scribe, event, tenant, unique};

pub(super) async fn turns_are_listed_newest_first_and_counted_by_how_they_ended(store: &dyn Store) {
    let tenant = tenant();
    let mut first = Scribe::new(store, &tenant);
    first.begin(store, "hi").await;
    let mut second = Scribe::new(store, &tenant);
    let created = event::created_by("eve", "user:eve", None, None);
    second.write(store, vec![created]).await;
    let [waited, one, two, three] = [unique(), unique(), unique(), unique()];
    let ended = async |turn: u64| {
        let turn = TurnId::from_bits(u128::from(turn));
        store.turn(&tenant, turn).await.unwrap().map(|row| row.ended.is_some())
    };
    assert_eq!(ended(one).await, None);
    first.write(store, vec![event::input(one, "say one\nand more"), event::started(one, &[one])]).await;
    assert_eq!(ended(one).await, Some(false), "known as soon as it began");
    first.write(store, vec![event::input(waited, "waits"), event::ended(one)]).await;
    assert_eq!(ended(one).await, Some(true), "and how it ended, at once");
    first.write(store, vec![event::started(two, &[waited])]).await;
    second.write(store, vec![event::input(three, "three"), event::started(three, &[three])]).await;

    let list = async |query: TurnQuery| store.turns(&tenant, &TurnQuery { limit: 9, ..query }).await.unwrap();
    let all = list(TurnQuery::default()).await;
    let ids: Vec<u128> = all.iter().map(|row| row.turn.bits()).collect();
    assert_eq!(ids, [u128::from(three), u128::from(two), u128::from(one)]);
    assert_eq!(all[2].name.as_deref(), Some("say one and more"));
    assert!(matches!(all[2].ended, Some((_, TurnEnding::Completed))));
    assert_eq!((all[1].name.as_deref(), all[1].ended), (None, None), "it waited before");
    assert_eq!((all[0].session, all[0].owner.as_str()), (second.id, "eve"));

    let owner = Some("eve".parse().unwrap());
    assert_eq!(list(TurnQuery { owner: owner.clone(), ..Default::default() }).await, all[..1]);
    assert_eq!(list(TurnQuery { session: Some(first.id), ..Default::default() }).await, all[1..]);
    assert_eq!(list(TurnQuery { offset: 1, ..Default::default() }).await, all[1..]);
    let count = async |query: TurnQuery| store.turn_counts(&tenant, &query).await.unwrap();
    assert_eq!(count(TurnQuery::default()).await, TurnCounts { open: 2, completed: 1, ..Default::default() });
    let of_session = TurnQuery { session: Some(second.id), ..Default::default() };
    assert_eq!(count(of_session).await.all(), 1);

    let turn = TurnId::from_bits(u128::from(two));
    assert_eq!(store.turn(&tenant, turn).await.unwrap().as_ref(), Some(&all[1]));
    assert_eq!(store.turn(&super::scribe::tenant(), turn).await.unwrap(), None);
    store.delete(first.id, first.fence).await.unwrap();
    assert_eq!(list(TurnQuery::default()).await, all[..1]);

    second.write(store, vec![event::ended(three)]).await;
    assert_eq!(ended(three).await, Some(true), "also after it was in a list");
    let all = list(TurnQuery::default()).await;
    assert!(matches!(all[0].ended, Some((_, TurnEnding::Completed))));

    // What a fork copies was done elsewhere.
    let mut fork = Scribe::new(store, &tenant);
    let copied: Vec<Event> = vec![
        event::created(None, None),
        event::started(unique(), &[]),
        event::forked(second.id, second.head()),
    ];
    fork.write(store, copied).await;
    assert_eq!(list(TurnQuery::default()).await, all[..1]);
}

pub(super) async fn lists_know_their_length_and_begin_anywhere(store: &dyn Store) {
    let tenant = tenant();
    let mut ids = Vec::new();
    for door in ["native", "oxios", "oxios", "native", "oxios"] {
        let mut scribe = Scribe { door, ..Scribe::new(store, &tenant) };
        scribe.begin(store, "hi").await;
        ids.push((door, scribe.row()));
    }
    ids.sort_by_key(|(_, row)| std::cmp::Reverse((row.view.updated_at, row.view.id)));
    for door in [None, Some("oxios")] {
        let wanted: Vec<_> =
            ids.iter().filter(|(own, _)| door.is_none_or(|door| door == *own)).map(|(_, row)| row).collect();
        let query = ListQuery { door: door.map(Into::into), ..Default::default() };
        assert_eq!(store.count(&tenant, &query).await.unwrap(), wanted.len() as u64);
        for offset in 0..=wanted.len() {
            let query = ListQuery { offset, limit: 2, ..query.clone() };
            let page = store.list(&tenant, &query).await.unwrap();
            let expected = &wanted[offset..(offset + 2).min(wanted.len())];
            assert_eq!(page.iter().collect::<Vec<_>>(), expected);
        }
    }
}
