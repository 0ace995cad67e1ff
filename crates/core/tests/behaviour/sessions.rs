//! Sessions: made, changed, found, copied, removed.

use std::time::Duration;

use moongate_core::{CallerLimits, FrameBody, Gateway, Happening, ListQuery, NewSession, Scope, TurnQuery};
use moongate_protocol::{
    Envelope, ErrorCode, Event, PolicyPreset, Seq, SessionPatch, SessionState, SessionUpdated,
};
use moongate_testkit::{Client, Gate, Script, Setup, TestGateway, admin, bob, caller, narrowed, says};
use serde_json::json;

use crate::tools::look;

async fn with_a_conversation() -> (TestGateway, moongate_core::SessionHandle) {
    let kit = Setup::default().tool(look()).start().await;
    kit.model().push([
        Script::new().reasoning("Hm", None).call("look", &json!({})).usage(1, 1).end(),
        Script::says("I see."),
        Script::says("Bye."),
    ]);
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    for text in ["look", "thanks"] {
        session.submit(says(text)).await.unwrap();
        client.until_turn_ends().await;
    }
    (kit, session)
}

#[tokio::test(start_paused = true)]
async fn a_fork_at_any_event_begins_as_the_original_and_goes_its_own_way() {
    let (mut kit, session) = with_a_conversation().await;
    let log = kit.log(session.id()).await;
    let mut forks = Vec::new();
    for at in 1..=log.len() {
        let title = (at % 2 == 0).then(|| format!("fork {at}"));
        let fork = kit.gateway().fork(&bob(), &session, Some(Seq(at as u64)), title.clone()).await.unwrap();
        assert_eq!((fork.view.state, fork.view.queue.len()), (SessionState::Idle, 0));
        assert_eq!(fork.view.sums.usage.calls, 0, "the original paid");
        let copy = kit.log(fork.view.id).await;
        assert_eq!(copy.len(), at + 1 + usize::from(title.is_some()));
        for (copied, original) in copy.iter().zip(&log).take(at) {
            assert_eq!((&copied.event, copied.at), (&original.event, original.at));
            assert_eq!(copied.session, fork.view.id);
            assert_ne!(copied.epoch, original.epoch, "no position of the original fits the fork");
        }
        forks.push(fork.view.id);
    }
    // What is on disk can be read back: all of it, after a restart too.
    kit.restart().await;
    for fork in forks {
        let handle = kit.open(fork).await;
        let mut client = Client::new(handle.follow(Some(handle.head())));
        handle.submit(says("go on")).await.unwrap();
        let ended = client.until_turn_ends().await;
        assert!(matches!(ended.event, Event::TurnCompleted(_)), "{ended:?}");
        let kinds = client.view.kinds();
        assert_eq!(kinds[..2], ["input.accepted", "turn.started"], "nothing of the original's runs here");
        assert_eq!(handle.view().await.unwrap().state, SessionState::Idle);
    }
    assert_eq!(kit.log(session.id()).await, log, "the original knows nothing of it");
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_a_running_turn_does_not_run() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    kit.model().push([Script::new().text("Once").gate(&gate).end()]);
    session.submit(says("hi")).await.unwrap();
    session.submit(says("waits")).await.unwrap();
    gate.reached().await;
    let fork = kit.gateway().fork(&bob(), &session, None, None).await.unwrap().view;
    assert_eq!((fork.state, fork.queue.len(), fork.turn), (SessionState::Idle, 0, None));
    assert_eq!(kit.disk().unfinished().await.unwrap(), [session.id()]);
    for at in [Seq::ZERO, session.head().seq.next()] {
        let refused = kit.gateway().fork(&bob(), &session, Some(at), None).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidPosition);
    }
    gate.open();
    kit.client(session.id()).await.until_turns_end(2).await;
}

#[tokio::test(start_paused = true)]
async fn an_export_imported_again_is_the_same_conversation() {
    let (mut kit, session) = with_a_conversation().await;
    let log = kit.log(session.id()).await;
    // Through JSON, as a file would have it.
    let lines: Vec<String> = log.iter().map(|envelope| serde_json::to_string(envelope).unwrap()).collect();
    let read: Vec<Envelope> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let eve = caller("default", "eve");
    let imported = kit.gateway().import(&eve, read).await.unwrap().view;
    assert_eq!((imported.owner.as_str(), imported.sums.usage.calls), ("eve", 0));
    kit.restart().await;
    let handle = kit.gateway().session(&eve, imported.id).await.unwrap();
    let said = |messages: Vec<moongate_protocol::MessageView>| {
        messages.into_iter().map(|message| (message.role, message.parts)).collect::<Vec<_>>()
    };
    let original = kit.open(session.id()).await.messages(None, 100).await.unwrap();
    assert_eq!(said(handle.messages(None, 100).await.unwrap()), said(original));
    let mut client = Client::new(handle.follow(None));
    handle.submit(says("go on")).await.unwrap();
    client.until_turns_end(3).await;
    let mut gap = log.clone();
    gap.remove(2);
    let mut headless = log.clone();
    headless.remove(0);
    for broken in [gap, headless, Vec::new()] {
        let refused = kit.gateway().import(&eve, broken).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
    }
}

#[tokio::test(start_paused = true)]
async fn importing_a_log_gives_nobody_rights_they_do_not_have() {
    let (kit, session) = with_a_conversation().await;
    let mut log = kit.log(session.id()).await;
    let last = log.last().unwrap().clone();
    log.push(Envelope {
        seq: last.seq.next(),
        event: Event::SessionUpdated(SessionUpdated {
            title: Some("mine".into()),
            metadata: None,
            archived: None,
            agent: Some("no-such-agent".parse().unwrap()),
            policy: Some(PolicyPreset::Full),
            auto_approve: Some(true),
            by: "admin".parse().unwrap(),
        }),
        ..last
    });
    let eve = kit.gateway().import(&caller("default", "eve"), log.clone()).await.unwrap().view;
    assert_eq!((eve.rules.policy, eve.agent.as_str(), eve.title.as_deref()), (None, "main", Some("mine")));
    let chief = kit.gateway().import(&admin(), log).await.unwrap().view;
    assert_eq!(chief.rules.policy, Some(PolicyPreset::Full));
    assert!(!eve.rules.auto_approve && !chief.rules.auto_approve, "what runs without a person is said anew");
}

#[tokio::test(start_paused = true)]
async fn an_alias_names_one_session_however_often_it_is_asked_for() {
    let kit = Setup::default().start().await;
    let named = || NewSession { alias: Some("my chat".parse().unwrap()), ..NewSession::default() };
    let asked = (0..20).map(|_| {
        let gateway: Gateway = kit.gateway().clone();
        tokio::spawn(async move { gateway.create(&bob(), "native", named()).await })
    });
    let mut made = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        made.push(asked.await.unwrap().unwrap());
    }
    assert_eq!(made.iter().filter(|created| !created.existed).count(), 1);
    assert!(made.iter().all(|created| created.view.id == made[0].view.id));
    let found = kit.gateway().by_alias(&bob(), "native", &"my chat".parse().unwrap()).await.unwrap();
    assert_eq!(found.id(), made[0].view.id);
    let elsewhere = kit.gateway().create(&bob(), "oxios", named()).await.unwrap();
    assert!(!elsewhere.existed);
}

#[tokio::test(start_paused = true)]
async fn settings_change_for_the_next_turn_and_need_their_rights() {
    let (kit, session) = with_a_conversation().await;
    let patch = SessionPatch {
        title: Some("New".into()),
        metadata: Some([("a".to_owned(), "b".to_owned())].into()),
        archived: Some(true),
        ..SessionPatch::default()
    };
    let view = session.update(patch).await.unwrap();
    assert_eq!((view.title.as_deref(), view.archived, view.metadata.len()), (Some("New"), true, 1));
    assert_eq!(session.view().await.unwrap(), view);
    let head = session.head();
    assert_eq!(session.update(SessionPatch::default()).await.unwrap().head, head, "nothing is no event");
    let policy = SessionPatch { policy: Some(PolicyPreset::ReadOnly), ..SessionPatch::default() };
    assert_eq!(session.update(policy.clone()).await.unwrap_err().code, ErrorCode::Forbidden);
    let chief = kit.gateway().session(&admin(), session.id()).await.unwrap();
    assert_eq!(chief.update(policy).await.unwrap().rules.policy, Some(PolicyPreset::ReadOnly));
    let nobody = SessionPatch { agent: Some("nobody".parse().unwrap()), ..SessionPatch::default() };
    assert_eq!(session.update(nobody).await.unwrap_err().code, ErrorCode::Unprocessable);
    let long = SessionPatch { title: Some("x".repeat(2000)), ..SessionPatch::default() };
    assert_eq!(session.update(long).await.unwrap_err().code, ErrorCode::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_gone_for_everybody_who_watched() {
    let kit = Setup::default().start().await;
    let named = NewSession { alias: Some("gone".parse().unwrap()), ..NewSession::default() };
    let id = kit.gateway().create(&bob(), "native", named.clone()).await.unwrap().view.id;
    let session = kit.open(id).await;
    let mut client = kit.client(id).await;
    kit.model().push([Script::new().text("…").hang()]);
    session.submit(says("hi")).await.unwrap();
    client.until_shown("…").await;
    session.delete().await.unwrap();
    client.until(|event| matches!(event, Event::SessionDeleted(_))).await;
    assert_eq!(client.view.ended_turns(), 1);
    assert_eq!(kit.gateway().running_turns(), 0);
    assert_eq!(session.submit(says("hi")).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(session.view().await.unwrap_err().code, ErrorCode::NotFound);
    assert!(kit.gateway().session(&bob(), id).await.is_err());
    let page = kit.gateway().list(&bob(), ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap();
    assert_eq!(page.items, []);
    assert!(!kit.gateway().create(&bob(), "native", named).await.unwrap().existed, "its alias is free");
}

#[tokio::test(start_paused = true)]
async fn a_list_pages_through_what_one_may_see() {
    let kit = Setup::default().start().await;
    let mut made = Vec::new();
    for number in 0..7 {
        kit.clock().advance(Duration::from_secs(1));
        let who = if number % 2 == 0 { bob() } else { caller("default", "eve") };
        let created = kit.gateway().create(&who, "native", NewSession::default()).await.unwrap();
        made.push((number, created.view.id));
    }
    let bobs: Vec<_> = made.iter().rev().filter(|(number, _)| number % 2 == 0).map(|(_, id)| *id).collect();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let query = ListQuery { limit: 3, after, ..ListQuery::default() };
        let page = kit.gateway().list(&bob(), query).await.unwrap();
        after = page.items.last().map(|view| (view.updated_at, view.id));
        found.extend(page.items.iter().map(|view| view.id));
        if !page.more {
            break;
        }
        assert_eq!(page.items.len(), 3);
    }
    assert_eq!(found, bobs);
    let all = kit.gateway().list(&admin(), ListQuery { limit: 100, ..ListQuery::default() }).await.unwrap();
    assert_eq!((all.items.len(), all.more), (7, false));
}

#[tokio::test(start_paused = true)]
async fn a_transcript_is_the_fold_of_the_log_and_pages_from_its_end() {
    let (_kit, session) = with_a_conversation().await;
    let all = session.messages(None, 100).await.unwrap();
    let texts: Vec<String> = all.iter().map(|m| moongate_protocol::Part::join_text(&m.parts)).collect();
    assert_eq!(texts, ["look", "", "I see.", "thanks", "Bye."]);
    assert!(all.iter().all(|message| message.turn.is_some()));
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = session.messages(before, 2).await.unwrap();
        let Some(first) = page.first() else { break };
        before = Some(first.seq);
        paged.splice(0..0, page);
    }
    assert_eq!(paged, all);
}

#[tokio::test(start_paused = true)]
async fn a_session_with_more_events_than_one_read_gives_is_read_back_whole() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    // Together far beyond the bytes one read returns.
    let long = "x".repeat(200_000);
    for turn in 1..=30 {
        session.submit(says(&long)).await.unwrap();
        client.until_turns_end(turn).await;
    }
    kit.restart().await;
    let session = kit.open(session.id()).await;
    session.submit(says("still there?")).await.unwrap();
    let mut client = kit.client(session.id()).await;
    client.until_turns_end(31).await;
    assert_eq!(kit.model().prompts().pop().unwrap().len(), 61);
    assert_eq!(session.messages(None, 1000).await.unwrap().len(), 62);
}

#[tokio::test(start_paused = true)]
async fn news_of_all_sessions_are_the_durable_events_of_those_one_may_see() {
    let kit = Setup::default().start().await;
    let mut bobs = kit.gateway().follow_all(&bob());
    let eve = caller("default", "eve");
    let hers = kit.gateway().create(&eve, "native", NewSession::default()).await.unwrap().view.id;
    kit.gateway().session(&eve, hers).await.unwrap().submit(says("secret")).await.unwrap();
    let mine = kit.session().await;
    mine.submit(says("hi")).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "turn.completed") {
        let Happening::Event(record) = bobs.next().await else { panic!("nothing was missed") };
        let envelope = record.envelope().unwrap();
        assert_eq!(envelope.session, mine.id());
        kinds.push(envelope.event.kind().to_owned());
    }
    assert_eq!(kinds[..3], ["session.created", "input.accepted", "turn.started"]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_encoded_once_for_all_who_follow() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let (mut one, mut other) = (kit.client(session.id()).await, kit.client(session.id()).await);
    let made = std::cell::Cell::new(0);
    let encode = |body: &FrameBody| {
        made.set(made.get() + 1);
        bytes::Bytes::from(format!("{body:?}"))
    };
    // The first event is history and read by each on its own; what follows is shared.
    one.next().await;
    other.next().await;
    session.submit(says("hi")).await.unwrap();
    for _ in 0..5 {
        let (mine, theirs) = (one.next().await, other.next().await);
        let encoded = mine.encoded(moongate_core::Encoding::NATIVE_SSE, encode).clone();
        assert_eq!(*theirs.encoded(moongate_core::Encoding::NATIVE_SSE, encode), encoded);
    }
    assert_eq!(made.get(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_read_only_key_reads_and_nothing_else() {
    let (kit, session) = with_a_conversation().await;
    let reader = narrowed("default", "bob", &[Scope::SessionsRead], Default::default());
    let handle = kit.gateway().session(&reader, session.id()).await.unwrap();
    handle.view().await.unwrap();
    assert!(!handle.messages(None, 10).await.unwrap().is_empty());
    let log = kit.log(session.id()).await;
    let answers = [
        handle.submit(says("hi")).await.map(drop),
        handle.cancel(Default::default()).await.map(drop),
        handle.withdraw(moongate_protocol::InputId::from_bits(1)).await,
        handle.update(SessionPatch::default()).await.map(drop),
        handle.delete().await,
        kit.gateway().fork(&reader, &handle, None, None).await.map(drop),
        kit.gateway().import(&reader, log.clone()).await.map(drop),
        kit.gateway().create(&reader, "native", NewSession::default()).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap_err().code, ErrorCode::Forbidden);
    }
    assert_eq!(kit.log(session.id()).await, log);
}

#[tokio::test(start_paused = true)]
async fn pages_of_sessions_and_turns_hold_what_the_caller_may_see_and_their_totals() {
    let kit = Setup::default().start().await;
    let mut sessions = Vec::new();
    for n in 0..5 {
        let session = kit.session().await;
        session.submit(says(&format!("hello {n}"))).await.unwrap();
        kit.client(session.id()).await.until_turn_ends().await;
        sessions.push(session.id());
    }
    let eve = caller("default", "eve");
    let narrow = CallerLimits { agents: vec!["elsewhere".parse().unwrap()], ..Default::default() };
    let narrowed_bob = narrowed("default", "bob", &[Scope::SessionsRead], narrow);
    let here = CallerLimits { agents: vec!["main".parse().unwrap()], ..Default::default() };
    let same_bob = narrowed("default", "bob", &[Scope::SessionsRead], here);
    for (who, sees) in [(&bob(), 5), (&admin(), 5), (&eve, 0), (&narrowed_bob, 0), (&same_bob, 5)] {
        let query = ListQuery { offset: 3, limit: 10, ..ListQuery::default() };
        let (rows, total) = kit.gateway().page(who, query).await.unwrap();
        assert_eq!((rows.len() as u64, total), (sees.max(3) - 3, sees));
        let query = TurnQuery { offset: 1, limit: 3, ..TurnQuery::default() };
        let (turns, counts) = kit.gateway().turns(who, query).await.unwrap();
        assert_eq!((turns.len() as u64, counts.all(), counts.completed), (sees.min(3), sees, sees));
    }
    let (turns, _) =
        kit.gateway().turns(&bob(), TurnQuery { limit: 1, ..TurnQuery::default() }).await.unwrap();
    assert_eq!(turns[0].name.as_deref(), Some("hello 4"));
    let (row, session) = kit.gateway().turn(&bob(), turns[0].turn).await.unwrap();
    assert_eq!((row.session, session.id()), (sessions[4], sessions[4]));
    let foreign = kit.gateway().turn(&eve, turns[0].turn).await;
    assert!(foreign.is_err_and(|refusal| refusal.code == ErrorCode::NotFound));
}
