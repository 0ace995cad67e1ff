//! Faults of turns: what one does to the others, what it used, what a strict client is sent.

use futures_util::{StreamExt as _, stream};
use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::{
    kit::on_both_mounts,
    transcripts::{asking, ls},
};

/// A gateway whose agent has a tool that panics.
fn panicking() -> Setup {
    Setup::default().tool(ScriptedTool::new("boom", Effect::Effect).panics())
}

/// The largest number orra's clients read.
const MOST: u64 = 4_294_967_295;

on_both_mounts! {
    async fn o_06_a_long_turn_holds_up_no_other_namespace(kit: Kit) {
        const CHATS: usize = 300;
        let slow = kit.key(json!({"principal": "slow"})).await;
        let mut keys = Vec::new();
        for n in 0..10 {
            keys.push(kit.key(json!({"principal": format!("p{n}")})).await);
        }
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("slow").gate(&gate).end()]);
        let mut line = kit.line(&slow).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "slow"})).await;
        assert_eq!(line.next().await["content"], "slow");
        let chats = (0..CHATS).map(|n| {
            let (kit, key) = (&kit, &keys[n % keys.len()]);
            async move { kit.chat(key, json!({"message": "x", "namespace": format!("n{n}")})).await }
        });
        let replies: Vec<_> = stream::iter(chats).buffer_unordered(30).collect().await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{:?}", replies.iter().find(|r| r.status != 200));
        assert_eq!(replies.len(), CHATS);
        assert_eq!(kit.get(&slow, "slow").await.body()["state"], "running", "all that while");
        gate.open();
        assert_eq!(line.next_but_text().await["message"], "slow");
        kit.stop().await;
    }

    async fn o_07_a_panic_in_a_tool_ends_that_turn_only(kit: Kit, panicking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([
            Script::new().text("still ").gate(&gate).text("here").end(),
            Script::calls(&[("boom", json!({}))]),
            Script::says("as if nothing had been"),
        ]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "other"})).await;
        line.next().await;
        let failed = kit.chat(&key, json!({"message": "go", "namespace": "a"})).await;
        assert_eq!(failed.code(), (500, "internal_error".into()));
        assert!(failed.body()["turn_id"].is_string() && failed.body()["namespace"] == "a", "{}", failed.text);
        let body = kit.get(&key, "a").await.body();
        assert_eq!(body["state"], "error");
        assert_eq!(body["messages"][2]["tool_results"][0]["is_error"], true, "each call has its result: {body}");
        let next = kit.chat(&key, json!({"message": "again", "namespace": "a"})).await;
        assert_eq!((next.status, &next.body()["message"]), (200, &json!("as if nothing had been")));
        gate.open();
        assert_eq!(line.next_but_text().await["message"], "still here");
        kit.stop().await;
    }

    async fn o_21_usage_is_cut_at_what_clients_read_and_all_of_it_is_in_the_ledger(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([
            Script::new().text("much").usage(5_000_000_000, 1).end(),
            Script::new().text("half").usage(7, 3).fault(ErrorCode::ProviderCut),
            Script::new().text("none").end(),
        ]);
        let much = kit.chat(&key, json!({"message": "x", "namespace": "a"})).await.body();
        let usage = &much["usage"];
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(MOST), &json!(1)));
        assert_eq!((&usage["total_tokens"], &usage["reported"]), (&json!(MOST), &json!(true)));
        let failed = kit.chat(&key, json!({"message": "x", "namespace": "a"})).await;
        assert_eq!(failed.code(), (502, "provider_error".into()));
        assert_eq!(failed.body()["usage"]["total_tokens"], 10, "{}", failed.text);
        let unknown = kit.chat(&key, json!({"message": "x", "namespace": "a"})).await.body();
        assert_eq!((&unknown["usage"]["total_tokens"], &unknown["usage"]["reported"]), (&json!(0), &json!(false)));
        let ledger = kit.native("/api/v1/usage?group=agent").await;
        let row = &ledger["items"][0];
        assert_eq!((&row["input"], &row["output"]), (&json!(5_000_000_007_u64), &json!(4)), "{ledger}");
        kit.stop().await;
    }

    async fn o_22_a_strict_client_is_sent_only_what_it_knows(kit: Kit, asking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let thinks = Script::new().reasoning("hm", None).text("Let me see. ");
        kit.test.model().push([
            thinks.call("shell", &json!({"command": "ls"})).usage(8, 4).finish(moongate_protocol::StopReason::ToolUse),
            Script::says("Two files."),
            ls(),
            Script::new().fault(ErrorCode::ProviderOverloaded),
        ]);
        let mut line = kit.line(&key).await;
        let say = |text: &str, id: &str| json!({"type": "chat", "message": text, "namespace": "a", "request_id": id});
        line.say(say("one", "r1")).await;
        line.say(say("two", "r2")).await;
        let mut kinds = Vec::new();
        let mut ended = 0;
        while ended < 2 {
            let frame = line.next().await;
            match frame["type"].as_str().unwrap() {
                "tool_approval_request" => {
                    let yes = json!({"type": "tool_approval_response", "call_id": frame["call_id"], "approved": true});
                    line.say(yes).await;
                }
                "response" | "error" => ended += 1,
                _ => {}
            }
            kinds.push(frame["type"].clone());
        }
        let asks = "tool_approval_request";
        assert_eq!(kinds, ["text_delta", asks, "text_delta", "response", asks, "error"]);
        let body = kit.get(&key, "a").await.body();
        let said: Vec<&Value> = body["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
        assert_eq!(said, ["user", "assistant", "user", "assistant", "user", "assistant", "user"]);
        kit.stop().await;
    }
}
