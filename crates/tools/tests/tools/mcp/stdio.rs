//! A program that is spoken to through its standard streams.

use std::time::{Duration, Instant};

use moongate_core::ServerState;
use moongate_protocol::{Effect, Event, PolicyPreset, ToolOutcome};
use serde_json::{Value, json};

use super::{Scripted, begin, call};
use crate::told;

#[tokio::test]
async fn a_server_s_tools_are_an_agent_s_tools() {
    for how in [&[][..], &["modern"]] {
        let server = Scripted::up(how).await;
        let echo = server.call("it__echo", json!({"text": "hello"})).await;
        assert_eq!((echo.outcome, told(&echo)), (ToolOutcome::Ok, "hello".into()), "{how:?}");
        let wrong = server.call("it__echo", json!({"text": 1})).await;
        assert_eq!(wrong.outcome, ToolOutcome::Error);
        assert!(told(&wrong).contains("/text"), "{}", told(&wrong));
        let failed = server.call("it__fail", json!({})).await;
        assert_eq!((failed.outcome, told(&failed)), (ToolOutcome::Error, "it went wrong".into()));
        let refused = server.call("it__refused", json!({})).await;
        assert_eq!(refused.outcome, ToolOutcome::Error);
        assert_eq!(told(&refused), "The MCP server refused the call: I do not want to (-32602)");
        let structured = server.call("it__structured", json!({})).await;
        assert_eq!(
            (structured.data.clone(), told(&structured)),
            (Some(json!({"sum": 3})), r#"{"sum":3}"#.into())
        );
        let image = server.call("it__image", json!({})).await;
        assert_eq!(told(&image), "[an image of type image/png, 3 bytes, which cannot be shown]");
    }
}

#[tokio::test]
async fn a_server_that_says_yes_to_everything_is_greeted_in_the_other_way_the_next_time() {
    let server = Scripted::up(&["odd"]).await;
    assert_eq!(told(&server.call("it__echo", json!({"text": "hello"})).await), "hello");
}

#[tokio::test]
async fn a_tool_that_says_nothing_or_is_not_believed_may_do_anything() {
    let doubted = Scripted::up(&[]).await;
    assert_eq!(doubted.tool("it__look").spec().effect, Effect::Effect);
    let trusted =
        Scripted::with(&[], |settings| super::ServerSettings { trust_annotations: true, ..settings }).await;
    assert_eq!(trusted.tool("it__look").spec().effect, Effect::Read);
    assert_eq!(trusted.tool("it__echo").spec().effect, Effect::Effect);
    let kit = doubted.gateway(PolicyPreset::ReadOnly).await;
    assert_eq!(call(&kit, "it__look", json!({})).await.outcome, ToolOutcome::Denied);
}

#[tokio::test]
async fn a_program_gets_its_own_environment_and_nothing_of_ours() {
    let server = Scripted::up(&[]).await;
    let seen: Value = serde_json::from_str(&told(&server.call("it__env", json!({})).await)).unwrap();
    let mut names: Vec<_> = seen["env"].as_object().unwrap().keys().map(String::as_str).collect();
    // Python sets it by itself.
    names.retain(|name| *name != "LC_CTYPE");
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH", "TOKEN"]);
    let folder = server.folder.path().canonicalize().unwrap();
    assert_eq!(seen["folder"], folder.to_str().unwrap());
}

#[tokio::test]
async fn a_call_that_is_stopped_is_cancelled_at_the_server_and_shows_its_progress() {
    let server = Scripted::up(&[]).await;
    let kit = server.gateway(PolicyPreset::Full).await;
    let (session, mut client) = begin(&kit, "it__slow", json!({})).await;
    client.until_shown("half\n").await;
    session.cancel(moongate_protocol::Cancel::default()).await.unwrap();
    let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    let Event::ToolFinished(finished) = finished.event else { unreachable!() };
    assert_eq!(finished.outcome, ToolOutcome::Cancelled);
    assert_eq!(server.saw("cancelled").await, "true");
}

#[tokio::test]
async fn a_server_that_crashes_in_a_call_leaves_its_outcome_unknown_and_is_started_again() {
    let server = Scripted::up(&[]).await;
    let crashed = server.call("it__crash", json!({})).await;
    assert_eq!(crashed.outcome, ToolOutcome::Unknown, "{}", told(&crashed));
    let echo = server.call("it__echo", json!({"text": "again"})).await;
    assert_eq!((echo.outcome, told(&echo)), (ToolOutcome::Ok, "again".into()));
}

#[tokio::test]
async fn a_server_that_hangs_in_a_call_is_given_up_and_started_again() {
    let short = |settings| super::ServerSettings { call: Duration::from_secs(1), ..settings };
    let server = Scripted::with(&[], short).await;
    let hung = server.call("it__hang", json!({})).await;
    assert_eq!(hung.outcome, ToolOutcome::Unknown, "{}", told(&hung));
    let down = server.until(|server| matches!(server.state, ServerState::Down(_))).await;
    assert_eq!(down.state, ServerState::Down("it did not answer a call, and does not answer at all".into()));
    server.until(|server| server.state == ServerState::Up).await;
}

#[tokio::test]
async fn rubbish_and_lines_without_end_are_passed_over() {
    let server = Scripted::up(&[]).await;
    for (tool, said) in [("it__rubbish", "after the rubbish"), ("it__huge", "after the long line")] {
        let finished = server.call(tool, json!({})).await;
        assert_eq!((finished.outcome, told(&finished)), (ToolOutcome::Ok, said.into()));
    }
}

#[tokio::test]
async fn what_a_server_asks_of_a_person_or_a_model_is_refused() {
    let server = Scripted::up(&[]).await;
    let asked = server.call("it__ask", json!({})).await;
    assert_eq!(told(&asked), r#"["-32601", "-32601"]"#);
}

#[tokio::test]
async fn a_server_that_never_speaks_or_ends_at_once_is_down_and_calls_say_so() {
    for (how, why) in [("silent", "it did not start within 1 seconds"), ("exit", "")] {
        let short = |settings| super::ServerSettings { start: Duration::from_secs(1), ..settings };
        let server = Scripted::started(&[how], short);
        let down = server.until(|server| matches!(server.state, ServerState::Down(_))).await;
        let ServerState::Down(said) = down.state else { unreachable!() };
        assert!(said.contains(why), "{said}");
        assert!(server.mcp.tools().is_empty());
    }
}

#[tokio::test]
async fn names_nobody_can_use_are_left_out() {
    let server = Scripted::up(&["names"]).await;
    let mut names: Vec<_> = server.mcp.tools().iter().map(|tool| tool.spec().name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["it__dots.and-dashes", "it__good"]);
}

#[tokio::test]
async fn only_the_tools_the_operator_names_are_taken_over() {
    let only =
        |settings| super::ServerSettings { only: Some(vec!["echo".into(), "no such".into()]), ..settings };
    let server = Scripted::with(&[], only).await;
    let names: Vec<_> = server.mcp.tools().iter().map(|tool| tool.spec().name.to_string()).collect();
    assert_eq!(names, ["it__echo"]);
}

#[tokio::test]
async fn everything_a_server_started_ends_with_it() {
    let server = Scripted::up(&[]).await;
    let child = told(&server.call("it__child", json!({})).await);
    let process = format!("/proc/{child}/stat");
    assert!(std::fs::exists(&process).unwrap());
    drop(server);
    // Nobody tells us when a grandchild is gone. One that waits to be reaped is.
    let lives = || std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
    while lives() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_tools_begin_a_session_without_delay() {
    let server = Scripted::up(&["many"]).await;
    assert_eq!(server.mcp.tools().len(), 1000);
    let kit = server.gateway(PolicyPreset::Full).await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([moongate_testkit::Script::new().text("hello").end()]);
    let began = Instant::now();
    session.submit(moongate_testkit::says("go")).await.unwrap();
    client.until_turn_ends().await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}
