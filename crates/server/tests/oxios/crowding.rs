//! Many at once, and those who do not read.

use std::time::Duration;

use moongate_testkit::{Gate, Script, Setup};
use serde_json::json;

use crate::kit::{Live, Mount, text};

#[tokio::test]
async fn o22_a_slow_socket_is_closed_and_nobody_loses_anything() {
    let live = Live::start(Setup::default(), Mount::Prefix, |_| {}).await;
    let piece = "x".repeat(256 << 10);
    let script = (0..48).fold(Script::new(), |script, _| script.text(&piece).pause(Duration::from_millis(1)));
    let gate = Gate::new();
    live.kit.model().push([script.gate(&gate).usage(1, 1).end(), Script::says("quick")]);
    let mut slow = live.socket("").await;
    slow.say(json!({"content": "much", "session_id": "s"})).await;
    slow.until("model").await;
    let mut other = live.socket("").await;
    other.say(json!({"content": "little", "session_id": "t"})).await;
    assert_eq!(text(&other.until("done").await), "quick");
    loop {
        let metrics = live.get("/api/metrics").await;
        if metrics.body.as_str().unwrap().contains("moongate_stalled_clients_total 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(slow.close_code().await, Some(1008));
    gate.open();
    let detail = loop {
        let detail = live.get("/api/sessions/s").await.body;
        if detail["agent_responses"][0]["content"].is_string() {
            break detail;
        }
    };
    assert_eq!(detail["agent_responses"][0]["content"].as_str().unwrap().len(), 12 << 20);
}

#[tokio::test]
async fn o25_two_hundred_inputs_of_four_sockets_are_all_answered_in_order() {
    let mut setup = Setup::default();
    setup.limits.queue_inputs = 300;
    let live = Live::start(setup, Mount::Prefix, |app| app.doors.oxios.max_queued = 256).await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(live.socket("").await);
    }
    for n in 0..50 {
        for (at, socket) in sockets.iter_mut().enumerate() {
            socket.say(json!({"content": format!("{at}.{n}"), "session_id": "s"})).await;
        }
    }
    for socket in &mut sockets {
        for _ in 0..50 {
            socket.until("done").await;
        }
    }
    let detail = live.get("/api/sessions/s").await.body;
    let said: Vec<_> =
        detail["user_messages"].as_array().unwrap().iter().map(|m| m["content"].clone()).collect();
    assert_eq!((said.len(), detail["agent_responses"].as_array().unwrap().len()), (200, 200));
    for at in 0..4 {
        let own: Vec<_> =
            said.iter().filter(|text| text.as_str().unwrap().starts_with(&format!("{at}."))).collect();
        let expected: Vec<_> = (0..50).map(|n| json!(format!("{at}.{n}"))).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    let list = live.get("/api/sessions").await.body;
    assert_eq!(list["items"][0]["message_count"], 200);
}

#[tokio::test]
async fn o12_the_turns_of_many_sessions_do_not_wait_for_each_other() {
    let live = Live::start(Setup::default(), Mount::Prefix, |_| {}).await;
    live.kit.model().push((0..8).map(|_| Script::new().pause(Duration::from_millis(300)).text("x").end()));
    let began = std::time::Instant::now();
    let chats = (0..8).map(|n| live.chat(json!({"content": n.to_string()})));
    futures_util::future::join_all(chats).await;
    assert!(began.elapsed() < Duration::from_millis(8 * 300), "{:?}", began.elapsed());
}
