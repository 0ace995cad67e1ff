//! Calls that wait for a person.

use std::time::Duration;

use moongate_core::ToolResult;
use moongate_protocol::{Effect, PolicyPreset};
use moongate_testkit::{CallLedger, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{Live, Mount, Socket, both, types};

fn asking(ledger: &CallLedger) -> Setup {
    let tool = ScriptedTool::new("write", Effect::Effect).answers(ToolResult::ok("wrote 5 bytes"));
    let mut setup = Setup::default().tool(tool.written_in(ledger));
    setup.policy = PolicyPreset::Ask;
    setup
}

fn ledger() -> CallLedger {
    let name = format!("moongate-oxios-ledger-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    drop(std::fs::remove_file(&path));
    CallLedger::open(&path)
}

fn writes() -> [Script; 2] {
    [Script::calls(&[("write", json!({"path": "a.txt", "content": "hello"}))]), Script::says("Done.")]
}

async fn asked(live: &Live, socket: &mut Socket) -> (String, Vec<Value>) {
    live.kit.model().push(writes());
    socket.say(json!({"type": "message", "content": "Write hello to a.txt", "session_id": "s"})).await;
    let frames = socket.until("tool_approval").await;
    (frames.last().unwrap()["id"].as_str().unwrap().to_owned(), frames)
}

both! {
    async fn golden_7_5_a_tool_call_with_approval(live: asking(&ledger())) {
        let mut events = live.events("").await;
        let mut socket = live.socket("").await;
        let (id, frames) = asked(&live, &mut socket).await;
        let approval = frames.last().unwrap();
        assert_eq!(types(&frames), ["model", "tool_approval"]);
        assert_eq!((&approval["tool_name"], &approval["resource"]), (&json!("write"), &json!("a.txt")));
        assert!(approval["reason"].is_string() && approval["expires_at"].is_string());
        assert_eq!(live.get("/api/sessions").await.body["items"][0]["status"], "waiting");
        let agent = live.get("/api/agents").await.body["items"][0].clone();
        assert_eq!(agent["status"], "idle");
        let list = live.get("/api/approvals").await.body;
        let expected = json!([{"id": id, "subject": format!("agent:{}", agent["id"].as_str().unwrap()),
            "action": "use_tool:write", "resource": "a.txt", "reason": approval["reason"], "created_at": list[0]["created_at"],
            "status": "pending", "session_id": "s", "expires_at": approval["expires_at"]}]);
        assert_eq!(list, expected);
        let approve = format!("/api/approvals/{id}/approve");
        let approved = live.post(&approve, Value::Null).await;
        assert_eq!((approved.status, approved.body), (200, json!({"status": "approved", "id": id})));
        let late = live.post(&format!("/api/chat/tool-approval/{id}/respond"), json!({"approved": false})).await;
        assert_eq!((late.status, late.body), (404, json!({"error": "approval not found or already decided"})));
        let rest = socket.until("done").await;
        assert_eq!(types(&rest), ["tool_start", "tool_end", "token", "usage", "done"]);
        assert_eq!(rest[0]["tool_args"], json!({"path": "a.txt", "content": "hello"}));
        assert_eq!((&rest[1]["is_error"], &rest[1]["output_summary"]), (&json!(false), &json!("wrote 5 bytes")));
        assert_eq!(rest[1]["tool_call_id"], rest[0]["tool_call_id"]);
        assert_eq!((&rest[4]["phase"], &rest[4]["evaluation_passed"]), (&json!("execute"), &json!(true)));
        let call = &rest[4]["tool_calls"][0];
        assert_eq!((&call["tool_name"], &call["output"]), (&json!("write"), &json!("wrote 5 bytes")));
        assert_eq!(live.get("/api/approvals").await.body[0]["status"], "approved");
        events.until("agent_stopped").await;
        let all = events.all();
        let requested = all.iter().find(|event| event["type"] == "approval_requested").unwrap();
        assert_eq!((&requested["id"], &requested["action"], &requested["resource"]), (&json!(id), &json!("use_tool:write"), &json!("a.txt")));
        let resolved = all.iter().find(|event| event["type"] == "approval_resolved").unwrap();
        assert_eq!((&resolved["id"], &resolved["approved"]), (&json!(id), &json!(true)));
        for bad in ["nope", "0199aa55-0001-7abc-8def-0123456789ab"] {
            let status = live.post(&format!("/api/approvals/{bad}/approve"), Value::Null).await.status;
            assert_eq!(status, if bad == "nope" { 400 } else { 404 });
        }
    }

    async fn o21_rejected_and_expired_calls_are_errors_the_model_sees(live: asking(&ledger())) {
        let mut socket = live.socket("").await;
        let (id, _) = asked(&live, &mut socket).await;
        let rejected = live.post(&format!("/api/approvals/{id}/reject"), Value::Null).await;
        assert_eq!(rejected.body, json!({"status": "rejected", "id": id}));
        let rest = socket.until("done").await;
        assert_eq!(types(&rest), ["tool_start", "tool_end", "token", "usage", "done"]);
        assert_eq!(rest[1]["is_error"], true);
        assert!(rest[1]["output_summary"].as_str().unwrap().contains("denied by the user"));
        assert_eq!(rest[4]["tool_calls"][0]["is_error"], true);
        let (_, frames) = asked(&live, &mut socket).await;
        let expires = frames.last().unwrap()["expires_at"].clone();
        assert!(expires.is_string());
        assert_eq!(live.get("/api/approvals").await.body.as_array().unwrap().len(), 2);
        socket.say(json!({"type": "cancel"})).await;
        let end = socket.until("done").await;
        assert_eq!(end.last().unwrap()["phase"], "cancelled");
        let states = live.get("/api/approvals").await.body;
        assert!(states.as_array().unwrap().iter().all(|row| row["status"] != "pending"), "{states}");
    }

    async fn o21_an_open_approval_outlives_a_restart_and_its_answer_goes_on(live: asking(&ledger())) {
        let mut socket = live.socket("").await;
        let (id, _) = asked(&live, &mut socket).await;
        let mut live = live;
        live.restart().await;
        let list = live.get("/api/approvals").await.body;
        assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(id), &json!("pending")));
        let mut back = live.socket("").await;
        back.say(json!({"type": "resume", "last_seq": 0, "session_id": "s"})).await;
        back.until("tool_approval").await;
        let answer = json!({"approved": true});
        let said = live.post(&format!("/api/chat/tool-approval/{id}/respond"), answer).await;
        assert_eq!((said.status, said.body), (200, json!({"status": "ok"})));
        assert_eq!(back.until("done").await.last().unwrap()["phase"], "execute");
    }
}

#[tokio::test]
async fn o21_a_hundred_racing_answers_are_one_decision_and_one_run() {
    let ledger = ledger();
    let live = Live::start(asking(&ledger), Mount::Prefix, |_| {}).await;
    let mut socket = live.socket("").await;
    let (id, _) = asked(&live, &mut socket).await;
    let (approve, reject) = (format!("/api/approvals/{id}/approve"), format!("/api/approvals/{id}/reject"));
    let answers = (0..100).map(|n| live.post(if n % 2 == 0 { &approve } else { &reject }, Value::Null));
    let replies = futures_util::future::join_all(answers).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 404)));
    let done = socket.until("done").await.pop().unwrap();
    let ran = usize::from(done["tool_calls"][0]["is_error"] == false);
    assert_eq!(ledger.runs().len(), ran);
}

#[tokio::test]
async fn a_remembered_answer_is_for_the_same_call_in_this_session_only() {
    let ledger = ledger();
    let live = Live::start(asking(&ledger), Mount::Prefix, |_| {}).await;
    let mut socket = live.socket("").await;
    let (id, _) = asked(&live, &mut socket).await;
    let answer = json!({"approved": true, "remember": true});
    assert_eq!(live.post(&format!("/api/chat/tool-approval/{id}/respond"), answer).await.status, 200);
    socket.until("done").await;
    live.kit.model().push(writes());
    socket.say(json!({"content": "again", "session_id": "s"})).await;
    let frames = socket.until("done").await;
    assert!(!types(&frames).contains(&"tool_approval"), "{frames:?}");
    assert_eq!(ledger.runs().len(), 2);
    live.kit.model().push(writes());
    socket.say(json!({"content": "elsewhere", "session_id": "other"})).await;
    socket.until("tool_approval").await;
}

#[tokio::test]
async fn a_key_without_the_scope_decides_nothing_and_silence_is_a_no() {
    let ledger = ledger();
    let change: fn(&mut moongate_server::AppConfig) = |app| app.doors.oxios.approval_timeout_secs = 1;
    let mut live = Live::start(asking(&ledger), Mount::Prefix, change).await;
    let mut socket = live.socket("").await;
    let (id, _) = asked(&live, &mut socket).await;
    let (_, reader) =
        live.new_key(json!({"label": "x", "principal": "admin", "scopes": ["sessions:read"]})).await;
    let admin = live.becomes(&reader);
    assert_eq!(live.post(&format!("/api/approvals/{id}/approve"), Value::Null).await.status, 403);
    live.becomes(&admin);
    live.kit.clock().advance(Duration::from_secs(2));
    let rest = socket.until("done").await;
    let end = rest.iter().find(|frame| frame["type"] == "tool_end").unwrap();
    assert_eq!(end["is_error"], true);
    assert_eq!(live.get("/api/approvals").await.body[0]["status"], "expired");
    assert_eq!(ledger.runs().len(), 0);
}
