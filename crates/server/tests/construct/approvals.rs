//! Calls that wait for a person.

use std::time::Duration;

use moongate_protocol::{Effect, PolicyPreset, Requirement};
use moongate_testkit::{CallLedger, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{Chat, Kit, MOUNTS, Mount, assert_has};

fn shell() -> ScriptedTool {
    ScriptedTool::new("shell", Effect::Effect).answers(moongate_core::ToolResult::ok("ok"))
}

async fn kit(mount: Mount, tool: ScriptedTool) -> Kit {
    let setup = Setup { policy: PolicyPreset::Ask, ..Setup::default() }.tool(tool);
    Kit::with(mount, setup, |_| {}).await
}

fn push() -> Script {
    Script::calls(&[("shell", json!({ "command": "git push" }))])
}

async fn asked(chat: &mut Chat) -> String {
    chat.expect(json!({
        "type": "tool_call", "name": "shell", "args": { "command": "git push" },
    }))
    .await;
    let request = chat
        .expect(json!({
            "type": "approval_request", "tool": "shell", "arguments_summary": "git push",
            "timeout_secs": 120,
        }))
        .await;
    request["request_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn g3_a_tool_with_approval_is_answered_by_an_old_ui_in_text() {
    for mount in MOUNTS {
        let kit = kit(mount, shell()).await;
        kit.scripts([push(), Script::says("Pushed.")]);
        let mut chat = kit.joined("s").await;
        chat.message("push it").await;
        let id = asked(&mut chat).await;
        let detail = format!("Approval needed for shell: git push. Reply /approve {id} or /deny {id}");
        chat.expect(json!({ "type": "operator_status", "phase": "blocked", "detail": detail })).await;
        chat.message(&format!("/approve {id}")).await;
        chat.expect(json!({
            "type": "approval_resolved", "request_id": id, "decision": "approve", "by": "user",
        }))
        .await;
        let status = json!({ "type": "operator_status", "phase": "completed", "detail": "Approved shell" });
        chat.expect(status).await;
        chat.expect(json!({ "type": "tool_result", "name": "shell", "output": "ok", "is_error": false }))
            .await;
        chat.expect(json!({ "type": "chunk", "content": "Pushed." })).await;
        chat.expect(json!({ "type": "chunk_reset" })).await;
        chat.expect(json!({ "type": "done", "full_response": "Pushed." })).await;
        let rows = kit.rows("s").await;
        assert_eq!(rows.len(), 2, "the decision is no row: {rows:?}");
    }
}

#[tokio::test]
async fn a_client_that_knows_approvals_decides_once_and_others_are_late() {
    for mount in MOUNTS {
        let kit = kit(mount, shell()).await;
        kit.scripts([push(), Script::says("Not pushed.")]);
        let mut chat = kit.joined("s").await;
        chat.say(json!({ "type": "connect", "capabilities": ["approvals"] })).await;
        chat.until("connected").await;
        chat.message("push it").await;
        let id = asked(&mut chat).await;
        let mut second = kit.chat("session_id=s").await;
        assert_has(&second.next().await, &json!({ "state": "running" }));
        let frames = second.until("approval_request").await;
        assert_has(frames.last().unwrap(), &json!({ "request_id": id, "replay": true }));
        assert_eq!(second.next().await["type"], "operator_status");
        let answer =
            |decision: &str| json!({ "type": "approval_response", "request_id": id, "decision": decision });
        chat.say(answer("deny")).await;
        chat.expect(json!({ "type": "approval_resolved", "decision": "deny", "by": "user" })).await;
        let result = chat.expect(json!({ "type": "tool_result", "is_error": true })).await;
        assert!(result["output"].as_str().unwrap().starts_with("Error"), "{result}");
        chat.until("done").await;
        second.until("done").await;
        second.say(answer("approve")).await;
        second.expect(json!({ "type": "approval_resolved", "decision": "deny", "late": true })).await;
        for (frame, code) in [
            (json!({ "type": "approval_response", "decision": "deny" }), "INVALID_APPROVAL_RESPONSE"),
            (
                json!({ "type": "approval_response", "request_id": "x", "decision": "deny" }),
                "APPROVAL_NOT_FOUND",
            ),
            (json!({ "type": "approval_response", "kind": "sop", "request_id": "x" }), "SOP_DISABLED"),
        ] {
            second.say(frame).await;
            second.expect(json!({ "type": "error", "code": code })).await;
        }
    }
}

#[tokio::test]
async fn c35_a_call_that_needs_approval_never_runs_without_one() {
    for mount in MOUNTS {
        let folder = tempfile::tempdir().unwrap();
        let ledger = CallLedger::open(&folder.path().join("runs"));
        let mut kit = kit(mount, shell().written_in(&ledger)).await;
        kit.scripts([push(), Script::says("ok")]);
        let mut chat = kit.joined("s").await;
        chat.message("push it").await;
        chat.until("approval_request").await;
        drop(chat);
        kit.restart().await;
        let mut chat = kit.chat("session_id=s").await;
        chat.until("approval_request").await;
        kit.gateway.clock().advance(Duration::from_secs(121));
        let resolved = chat.until("approval_resolved").await.pop().unwrap();
        assert_has(&resolved, &json!({ "decision": "deny", "by": "timeout" }));
        chat.until("done").await;
        assert!(ledger.runs().is_empty(), "{:?}", ledger.runs());
    }
}

#[tokio::test]
async fn always_allows_the_tool_from_now_on_but_not_one_that_asks_each_time() {
    for (requirement, asks_again) in [(Requirement::UnlessAutoApproved, false), (Requirement::Always, true)] {
        let kit = kit(Mount::Own, shell().requires(requirement)).await;
        kit.scripts([push(), Script::says("one"), push(), Script::says("two")]);
        let mut chat = kit.joined("s").await;
        chat.message("push it").await;
        let id = asked(&mut chat).await;
        chat.message(&format!("/always {id}")).await;
        chat.until("done").await;
        chat.message("again").await;
        let mut kinds = Vec::new();
        loop {
            let frame: Value = chat.known().await;
            kinds.push(frame["type"].as_str().unwrap().to_owned());
            if let Some(id) = frame["request_id"].as_str().filter(|_| frame["type"] == "approval_request") {
                chat.message(&format!("/approve {id}")).await;
            }
            if frame["type"] == "done" {
                break;
            }
        }
        assert_eq!(kinds.iter().any(|kind| kind == "approval_request"), asks_again, "{kinds:?}");
    }
}
