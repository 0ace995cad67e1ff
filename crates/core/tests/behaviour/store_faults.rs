//! A store that takes no writes.

use std::time::Duration;

use moongate_core::{MemoryStore, StoreError};
use moongate_protocol::{Cancel, ErrorCode, Event, SessionPatch, SessionState};
use moongate_testkit::{Gate, Script, Setup, bob, says};

use crate::tools::look;

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_is_refused_and_leaves_no_trace() {
    let errors: [(fn() -> StoreError, ErrorCode); 3] = [
        (|| StoreError::DiskFull, ErrorCode::DiskFull),
        (|| StoreError::ReadOnly("EIO".into()), ErrorCode::StoreReadOnly),
        (|| StoreError::Engine("broken".into()), ErrorCode::Internal),
    ];
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    client.until(|event| matches!(event, Event::SessionCreated(_))).await;
    for (error, code) in errors {
        kit.store().refuse(Some(error));
        assert_eq!(session.submit(says("lost")).await.unwrap_err().code, code);
        let patch = SessionPatch { title: Some("lost".into()), ..SessionPatch::default() };
        assert_eq!(session.update(patch).await.unwrap_err().code, code);
        assert_eq!(session.delete().await.unwrap_err().code, code);
        let created = kit.gateway().create(&bob(), "native", Default::default()).await;
        assert_eq!(created.unwrap_err().code, code);
        assert_eq!(kit.log(session.id()).await.len(), 1);
        let shown = tokio::time::timeout(Duration::from_secs(5), client.next()).await;
        assert!(shown.is_err(), "nothing is shown of what is not on disk, but {shown:?}");
    }
    kit.store().refuse(None);
    session.submit(says("kept")).await.unwrap();
    client.until_turn_ends().await;
    let said = kit.model().prompts().concat();
    assert!(!format!("{said:?}").contains("lost"), "what was refused is forgotten: {said:?}");
    assert_eq!(session.view().await.unwrap().title.as_deref(), Some("kept"));
}

/// At each append of a turn in turn, the disk is full and then has room again.
#[tokio::test(start_paused = true)]
async fn a_turn_that_a_full_disk_broke_off_goes_on_by_itself_when_there_is_room() {
    for append in 3.. {
        let store = std::sync::Arc::new(MemoryStore::new());
        let kit = Setup { store, ..Setup::default() }.tool(look()).start().await;
        kit.model().push([Script::calls(&[("look", serde_json::json!({}))])]);
        let session = kit.session().await;
        let mut client = kit.client(session.id()).await;
        kit.store().refuse_at(append, || StoreError::DiskFull);
        session.submit(says("hi")).await.unwrap();
        client.until_turn_ends().await;
        assert!(matches!(client.view.events.last().unwrap().event, Event::TurnCompleted(_)), "{append}");
        assert_eq!(client.view.ended_turns(), 1);
        assert_eq!(client.view.answers().last().unwrap(), "ok");
        let view = session.view().await.unwrap();
        assert_eq!((view.state, view.head), (SessionState::Idle, client.view.position().unwrap()));
        if kit.store().appends() < append {
            assert!(append > 5, "the turn has more appends than {append}");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_a_full_disk_broke_off_goes_on_when_somebody_speaks() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    kit.model().push([Script::new().text("lost").gate(&gate).end()]);
    session.submit(says("one")).await.unwrap();
    gate.reached().await;
    kit.store().refuse(Some(|| StoreError::DiskFull));
    gate.open();
    // The actor is gone when it says so.
    while session.cancel(Cancel::default()).await.unwrap_err().code != ErrorCode::DiskFull {}
    kit.store().refuse(None);
    session.submit(says("two")).await.unwrap();
    let mut client = kit.client(session.id()).await;
    client.until_turns_end(2).await;
    let kinds = client.view.kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "turn.resumed").count(), 1);
    assert_eq!(client.view.answers(), ["ok", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_cancels_while_the_disk_is_full_is_told_so() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    kit.model().push([Script::new().text("…").hang()]);
    session.submit(says("hi")).await.unwrap();
    kit.client(session.id()).await.until_shown("…").await;
    kit.store().refuse(Some(|| StoreError::DiskFull));
    let refused = session.cancel(Cancel::default()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull);
    assert!(kit.log(session.id()).await.last().unwrap().event.ends_turn().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_whole_or_not_at_all() {
    use moongate_testkit::Death;
    for death in [Death::Before, Death::After] {
        let mut kit = Setup::default().start().await;
        let session = kit.session().await;
        kit.model().push([Script::new().text("…").hang()]);
        session.submit(says("hi")).await.unwrap();
        kit.client(session.id()).await.until_shown("…").await;
        kit.store().die_at(kit.store().appends() + 1, death);
        tokio::select! {
            answer = session.delete() => panic!("{answer:?}"),
            () = kit.store().died() => {}
        }
        kit.restart().await;
        let found = kit.gateway().session(&bob(), session.id()).await;
        if death == Death::After {
            assert_eq!(found.err().unwrap().code, ErrorCode::NotFound);
        } else {
            let mut client = kit.client(session.id()).await;
            client.until_turn_ends().await;
            assert_eq!(client.view.answers(), ["ok"]);
            assert!(!client.view.kinds().contains(&"session.deleted"));
        }
    }
}
