//! Promises about finding words.

use moongate_core::{ListQuery, SearchHit, Store};
use moongate_protocol::{Seq, Tenant};

use super::scribe::{Scribe, event, tenant, unique};

async fn found(store: &dyn Store, tenant: &Tenant, text: &str) -> usize {
    store.search(tenant, text, 100).await.unwrap().len()
}

pub(super) async fn words_are_found_whole_or_begun(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "The Quick-Brown fox").await;
    scribe.write(store, event::turn(1, 1, "jumps over foxgloves")).await;
    for (query, hits) in [
        ("quick", 1),
        ("QUI", 1),
        ("fox", 2),
        ("fox the", 1),
        ("fox over", 1),
        ("brown quick", 1),
        ("quick-br", 1),
        ("brown-quick", 0),
        ("ox", 0),
        ("quick jumps", 0),
        ("", 0),
        ("  ", 0),
    ] {
        assert_eq!(found(store, &tenant, query).await, hits, "{query}");
    }
    assert_eq!(found(store, &super::scribe::tenant(), "fox").await, 0);
}

pub(super) async fn chinese_and_japanese_are_found_by_any_run_of_characters(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "我住在北京市朝阳区，喜欢Rust语言").await;
    scribe.write(store, vec![event::said(1, "東京タワーへ行きました。한국어도")]).await;
    for (query, hits) in [
        ("北京", 1),
        ("京市朝", 1),
        ("京北", 0),
        ("住", 1),
        ("rust语言", 1),
        ("北京 语言", 1),
        ("京", 2),
        ("タワー", 1),
        ("行きました", 1),
        ("한국", 1),
        ("上海", 0),
    ] {
        assert_eq!(found(store, &tenant, query).await, hits, "{query}");
    }
}

pub(super) async fn nothing_a_person_types_is_syntax(store: &dyn Store) {
    let tenant = tenant();
    let mut scribe = Scribe::new(store, &tenant);
    scribe.begin(store, "say \"hello\" OR NOT (world)").await;
    for query in ["\"hello", "hello\"", "hello*", "NOT", "OR hello", "(hello", "text:", "hello AND", "^hello"]
    {
        let hits = store.search(&tenant, query, 9).await.unwrap().len();
        assert!(hits <= 1, "{query}");
    }
    assert_eq!(found(store, &tenant, "\"hello\" (world").await, 1);
    assert_eq!(found(store, &tenant, "hello NOT world").await, 1);
    for query in ["\"", "*", "()", "' OR 1=1 --", "\u{0}", "NEAR(", "-", "{text}:x", "a\u{0}b"] {
        assert_eq!(found(store, &tenant, query).await, 0, "{query}");
        let text = Some(query.to_owned());
        store.list(&tenant, &ListQuery { text, limit: 9, ..Default::default() }).await.unwrap();
    }
}

pub(super) async fn titles_are_found_in_the_list(store: &dyn Store) {
    let tenant = tenant();
    let mut titled = Scribe::new(store, &tenant);
    titled.write(store, vec![event::created(Some("Holiday plans"), None)]).await;
    let mut talked = Scribe::new(store, &tenant);
    talked.begin(store, "holiday in July").await;
    let listed = async |text: &str| {
        let query = ListQuery { text: Some(text.into()), limit: 9, ..Default::default() };
        let rows = store.list(&tenant, &query).await.unwrap();
        rows.into_iter().map(|row| row.view.id).collect::<Vec<_>>()
    };
    assert_eq!(listed("holiday").await, [talked.id, titled.id]);
    assert_eq!(listed("plan").await, [titled.id]);
    assert_eq!(listed("july").await, [talked.id]);
    assert_eq!(listed("plans july").await, []);
    assert_eq!(listed(" ").await, [talked.id, titled.id]);
    titled.write(store, vec![event::updated(Some("Work"), None, None)]).await;
    assert_eq!(listed("plan").await, []);
    assert_eq!(listed("work").await, [titled.id]);
    assert_eq!(found(store, &tenant, "work").await, 0, "a title is not a message");
}

pub(super) async fn the_newest_is_found_first_and_no_more_than_asked(store: &dyn Store) {
    let tenant = tenant();
    let mut scribes = [Scribe::new(store, &tenant), Scribe::new(store, &tenant)];
    let mut expected = Vec::new();
    for i in 0..10 {
        let scribe = &mut scribes[i % 2];
        if scribe.summary.is_none() {
            scribe.write(store, vec![event::created(None, None)]).await;
        }
        scribe.write(store, vec![event::input(unique(), "needle"), event::input(unique(), "hay")]).await;
        expected.insert(0, SearchHit { session: scribe.id, seq: Seq(scribe.head().0 - 1) });
    }
    for limit in [0, 1, 3, 10, 99] {
        let hits = store.search(&tenant, "needle", limit).await.unwrap();
        assert_eq!(hits, expected[..limit.min(10)]);
    }
}
