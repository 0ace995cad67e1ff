//! Sessions that are not kept, and sessions that begin with what was said elsewhere.

use std::time::Duration;

use bytes::Bytes;
use moongate_core::{
    Beginning, ListQuery, PromptMessage, StoreError, UsageGroup, UsageQuery, blob_hash,
    limits::HISTORY_MESSAGES,
};
use moongate_protocol::{BlobRef, ErrorCode, Part, Role, Said, SessionId, Timestamp, ToolSpec};
use moongate_testkit::{Client, Gate, Script, Setup, TestGateway, bob, caller, says, validators::validate};
use serde_json::json;

fn user(text: &str) -> Said {
    Said { role: Role::User, parts: vec![Part::text(text)] }
}

fn model(text: &str) -> Said {
    Said { role: Role::Assistant, parts: vec![Part::text(text)] }
}

async fn is_kept(kit: &TestGateway, id: SessionId) -> bool {
    kit.disk().session(id).await.unwrap().is_some()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_kept_talks_like_any_other_and_leaves_only_what_it_cost() {
    let kit = Setup::default().start().await;
    let session = kit.gateway().ephemeral(&bob(), "openai", Beginning::default()).await.unwrap();
    let id = session.handle().id();
    let mut client = Client::new(session.handle().follow(None));
    kit.model().push([Script::says("hello"), Script::says("again")]);
    session.handle().submit(says("hi")).await.unwrap();
    client.until_turn_ends().await;
    session.handle().submit(says("and?")).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(client.view.answers(), ["hello", "again"]);
    assert_eq!(kit.model().prompts()[1].len(), 3);
    assert_eq!(session.handle().view().await.unwrap().id, id);
    assert!(!is_kept(&kit, id).await);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    assert_eq!(kit.gateway().list(&bob(), query).await.unwrap().items.len(), 0);
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let usage =
        kit.disk().usage(bob().tenant(), &UsageQuery::between(UsageGroup::Session, from, to)).await.unwrap();
    assert_eq!(
        usage.iter().map(|row| (row.group.clone(), row.calls)).collect::<Vec<_>>(),
        [(id.to_string(), 2)]
    );
}

#[tokio::test(start_paused = true)]
async fn letting_go_of_a_session_that_is_not_kept_stops_its_turn_and_forgets_it() {
    let kit = Setup::default().start().await;
    let session = kit.gateway().ephemeral(&bob(), "openai", Beginning::default()).await.unwrap();
    let (id, handle) = (session.handle().id(), session.handle().clone());
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate)]);
    handle.submit(says("hi")).await.unwrap();
    gate.reached().await;
    assert_eq!(kit.gateway().running_turns(), 1);
    drop(session);
    while kit.gateway().running_turns() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handle.submit(says("still there?")).await.unwrap_err().code, ErrorCode::NotFound);
    drop(handle);
    assert_eq!(kit.gateway().session(&bob(), id).await.err().unwrap().code, ErrorCode::NotFound);
    assert_eq!(kit.gateway().open_sessions(), 0);
    assert_eq!(kit.model().requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_kept_is_its_owners_alone() {
    let kit = Setup::default().start().await;
    let session = kit.gateway().ephemeral(&bob(), "openai", Beginning::default()).await.unwrap();
    let eve = caller("default", "eve");
    let refused = kit.gateway().session(&eve, session.handle().id()).await;
    assert_eq!(refused.err().unwrap().code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_paid_for_is_not_shown_as_an_answer() {
    let kit = Setup::default().start().await;
    let session = kit.gateway().ephemeral(&bob(), "openai", Beginning::default()).await.unwrap();
    let mut client = Client::new(session.handle().follow(None));
    kit.store().refuse(Some(|| StoreError::DiskFull));
    session.handle().submit(says("hi")).await.unwrap();
    tokio::select! {
        ended = client.until_turn_ends() => panic!("an end was told that was not written: {ended:?}"),
        () = session.broken() => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_said_elsewhere_is_in_the_prompt_and_nothing_of_it_runs() {
    let png = Bytes::from_static(b"png");
    let blob = BlobRef { hash: blob_hash(&png), media_type: "image/png".into(), bytes: 3 };
    let call = Part::ToolCall {
        item: moongate_protocol::ItemId::from_bits(7),
        call: "call_x".parse().unwrap(),
        tool: "weather".into(),
        arguments: json!({}),
    };
    let result = Part::ToolResult {
        call: "call_x".parse().unwrap(),
        content: vec![Part::text("rain")],
        is_error: false,
    };
    let history = vec![
        user("one"),
        Said { role: Role::User, parts: vec![Part::Image { blob }] },
        Said { role: Role::Assistant, parts: vec![Part::text("I look."), call] },
        Said { role: Role::User, parts: vec![result] },
        model("It rains."),
        user("thanks"),
    ];
    for kept in [false, true] {
        let kit = Setup::default().start().await;
        let beginning =
            Beginning { history: history.clone(), attachments: vec![png.clone()], ..Beginning::default() };
        let (handle, _life) = match kept {
            true => {
                let created = kit.gateway().create_with(&bob(), "openai", beginning).await.unwrap();
                (kit.open(created.view.id).await, None)
            }
            false => {
                let session = kit.gateway().ephemeral(&bob(), "openai", beginning).await.unwrap();
                (session.handle().clone(), Some(session))
            }
        };
        let mut client = Client::new(handle.follow_live());
        handle.submit(says("and now?")).await.unwrap();
        client.until_turn_ends().await;
        assert_eq!(kit.model().requests().len(), 1, "nothing said before is answered");
        let prompt = kit.model().prompts().pop().unwrap();
        validate(&prompt).unwrap();
        let PromptMessage::User(first) = &prompt[0] else { panic!("{prompt:?}") };
        assert_eq!(first.len(), 2);
        assert!(
            matches!(&prompt[2], PromptMessage::ToolResult { content, .. } if content == &[Part::text("rain")])
        );
        let last = PromptMessage::User(vec![Part::text("thanks"), Part::text("and now?")]);
        assert_eq!((prompt.len(), prompt.last()), (5, Some(&last)));
        assert_eq!(kit.model().requests()[0].attachments.len(), 1);
        assert_eq!(is_kept(&kit, handle.id()).await, kept);
        assert_eq!(kit.disk().blob(blob_hash(&png)).await.unwrap().is_some(), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_a_history_ends_with_can_be_answered() {
    let kit = Setup::default().start().await;
    let call = Part::ToolCall {
        item: moongate_protocol::ItemId::from_bits(7),
        call: "call_x".parse().unwrap(),
        tool: "weather".into(),
        arguments: json!({}),
    };
    let history = vec![user("how is it?"), Said { role: Role::Assistant, parts: vec![call] }];
    let beginning = Beginning { history, ..Beginning::default() };
    let session = kit.gateway().ephemeral(&bob(), "openai", beginning).await.unwrap();
    let mut client = Client::new(session.handle().follow_live());
    let content = vec![Part::text("rain")];
    let result = Part::ToolResult { call: "call_x".parse().unwrap(), content, is_error: false };
    let spec = ToolSpec {
        name: "weather".parse().unwrap(),
        description: String::new(),
        parameters: json!({}),
        effect: moongate_protocol::Effect::Effect,
    };
    let input = moongate_protocol::NewInput {
        parts: vec![result],
        client_tools: vec![spec],
        ..moongate_protocol::NewInput::default()
    };
    session.handle().submit(input).await.unwrap();
    client.until_turn_ends().await;
    let prompt = kit.model().prompts().pop().unwrap();
    assert!(matches!(prompt.last(), Some(PromptMessage::ToolResult { .. })), "{prompt:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_is_not_kept_goes_on_from_any_turn_and_leaves_the_original_alone() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    session.submit(says("one")).await.unwrap();
    let at = client.until_turn_ends().await.seq;
    session.submit(says("two")).await.unwrap();
    client.until_turn_ends().await;
    let before = kit.log(session.id()).await.len();
    let fork = kit.gateway().fork_ephemeral(&bob(), &session, at).await.unwrap();
    let mut other = Client::new(fork.handle().follow_live());
    fork.handle().submit(says("three")).await.unwrap();
    other.until_turn_ends().await;
    let prompt = kit.model().prompts().pop().unwrap();
    assert_eq!(prompt.len(), 3);
    assert_eq!(prompt[2], PromptMessage::User(vec![Part::text("three")]));
    assert_eq!(kit.log(session.id()).await.len(), before);
    assert!(!is_kept(&kit, fork.handle().id()).await);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_too_long_or_has_the_wrong_speaker_is_refused() {
    let kit = Setup::default().start().await;
    let result =
        Part::ToolResult { call: "c".parse().unwrap(), content: vec![Part::text("x")], is_error: false };
    let cases = [
        (vec![user("x"); HISTORY_MESSAGES + 1], ErrorCode::TooLarge),
        (vec![Said { role: Role::Assistant, parts: vec![result] }], ErrorCode::InvalidRequest),
    ];
    for (history, code) in cases {
        let beginning = Beginning { history, ..Beginning::default() };
        let refused = kit.gateway().create_with(&bob(), "openai", beginning).await.unwrap_err();
        assert_eq!(refused.code, code);
    }
}
