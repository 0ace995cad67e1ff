//! Faults of tools: whether they run, who lets them, what is kept of what they say.

use futures_util::future::join_all;
use moongate_core::{ToolPolicies, ToolPolicy, ToolResult, limits::TOOL_OUTPUT_SHOWN_BYTES};
use moongate_protocol::{Effect, StopReason};
use moongate_server::AppConfig;
use moongate_testkit::{MODEL, Script, ScriptedModel, ScriptedTool, Setup, validators::validate};
use serde_json::{Value, json};

use crate::{
    kit::{Line, on_both_mounts},
    transcripts::{asking, obliging, ruling},
};

/// Sessions that approve by themselves, each beside one that does not, and turns of each: a thousand interleavings
/// on both mounts together.
const PAIRS: usize = 20;
const ROUNDS: usize = 25;
/// How far before the middle of a character a tool's output may be cut, in bytes.
const CUTS: usize = 60;
/// Characters of one, two, three and four bytes.
const MIXED: &str = "aé日🦀";

/// A gateway whose agent may not use one of its tools in sessions of one principal.
fn narrowed() -> Setup {
    let beneath = [("~private".parse().unwrap(), ToolPolicy::Deny(vec!["wipe".into()]))];
    Setup { tool_policies: ToolPolicies::new(ToolPolicy::AllowAll, beneath), ..asking() }
}

fn at_once(app: &mut AppConfig) {
    app.doors.orra.limits.turns_per_key = 4 * PAIRS;
}

fn many(setup: Setup) -> Setup {
    let limits = moongate_core::Limits { turns_per_caller: 4 * PAIRS, ..setup.limits };
    Setup { limits, ..setup }
}

/// A gateway whose tools say so much that it is cut at every place, and whose model has little room.
fn talkative() -> Setup {
    let model = ScriptedModel::new(MODEL.parse().unwrap()).with_window(1_000);
    (1..=CUTS).fold(Setup::default().model(model), |setup, cut| {
        let text = said(cut);
        setup.tool(ScriptedTool::new(&format!("say{cut}"), Effect::Read).answers(ToolResult::ok(text)))
    })
}

/// Something that is cut so many bytes after its letters end.
fn said(cut: usize) -> String {
    "x".repeat(TOOL_OUTPUT_SHOWN_BYTES - cut) + &MIXED.repeat(CUTS)
}

/// A turn in both sessions of a pair at once; the one that asks is told no.
async fn both(line: &mut Line, pair: usize, round: usize) {
    let (by_itself, asks) = (format!("chaos{pair}"), format!("calm{pair}"));
    let mut names = [&by_itself, &asks];
    names.rotate_left((pair + round) % 2);
    for name in names {
        line.say(json!({"type": "chat", "message": "shell", "namespace": name})).await;
    }
    let (mut results, mut ended) = (Vec::new(), 0);
    while ended < 2 {
        let frame = line.next().await;
        match frame["type"].as_str().unwrap() {
            "tool_approval_request" => {
                assert_eq!(frame["namespace"], json!(asks), "{frame}");
                line.say(
                    json!({"type": "tool_approval_response", "call_id": frame["call_id"], "approved": false}),
                )
                .await;
            }
            "tool_finished" => results.push((frame["namespace"].clone(), frame["is_error"].clone())),
            "response" => ended += 1,
            "error" => panic!("{frame}"),
            _ => {}
        }
    }
    results.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(results, [(json!(asks), json!(true)), (json!(by_itself), json!(false))]);
}

on_both_mounts! {
    async fn o_10_a_streamed_chat_asks_runs_and_stores_its_tools(kit: Kit, narrowed(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let wants = Script::new().text("Let me see. ").call("shell", &json!({"command": "ls"})).call("wipe", &json!({}));
        kit.test.model().push([
            wants.usage(10, 2).finish(StopReason::ToolUse),
            Script::new().text("Two ").text("files.").usage(20, 4).end(),
        ]);
        let mut line = kit.line_with(&key, "?ext=tools").await;
        line.say(json!({"type": "chat", "message": "list", "namespace": "a"})).await;
        let first = line.next().await;
        assert_eq!((&first["content"], &first["offset"]), (&json!("Let me see. "), &json!(0)));
        let (mut asked, mut refused) = (Value::Null, Value::Null);
        while asked.is_null() || refused.is_null() {
            let frame = line.next().await;
            match frame["type"].as_str().unwrap() {
                "tool_approval_request" => asked = frame,
                _ => refused = frame,
            }
        }
        assert_eq!((&refused["type"], &refused["tool_name"]), (&json!("tool_finished"), &json!("wipe")));
        assert_eq!(refused["content"], "Tool 'wipe' is not allowed in this namespace.");
        assert_eq!(asked["tool_name"], "shell");
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        let started = line.next().await;
        assert_eq!((&started["type"], &started["tool_name"]), (&json!("tool_started"), &json!("shell")));
        let finished = line.next().await;
        assert_eq!((&finished["content"], &finished["is_error"]), (&json!("done"), &json!(false)));
        let rest = line.until("response").await;
        assert_eq!(rest[0]["offset"], "Let me see. ".len());
        let end = rest.last().unwrap();
        assert_eq!((&end["message"], &end["usage"]["total_tokens"]), (&json!("Two files."), &json!(36)));
        let body = kit.get(&key, "a").await.body();
        let messages = body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 4, "{body}");
        assert_eq!((&messages[1]["content"], &messages[3]["content"]), (&json!("Let me see. "), &json!("Two files.")));
        let calls = messages[1]["tool_calls"].as_array().unwrap();
        assert_eq!(calls[0]["arguments"], json!({"command": "ls"}));
        for call in calls {
            let results = messages[2]["tool_results"].as_array().unwrap();
            let result = results.iter().find(|result| result["call_id"] == call["id"]).expect("each has its result");
            assert_eq!(result["is_error"], call["name"] == "wipe");
        }
        kit.stop().await;
    }

    async fn o_14_chaos_mode_of_one_session_approves_for_no_other(kit: Kit, many(obliging()), at_once) {
        let ruler = kit.key(json!({"principal": "k", "scopes": ruling()})).await;
        let mut lines = Vec::new();
        for pair in 0..PAIRS {
            let name = format!("chaos{pair}");
            assert_eq!(kit.chat(&ruler, json!({"message": "hi", "namespace": name})).await.status, 200);
            let on = json!({"metadata": {"chaos_mode": true}});
            assert_eq!(kit.patch(&ruler, &name, on).await.status, 200);
            lines.push(kit.line_with(&ruler, "?ext=tools").await);
        }
        for round in 0..ROUNDS {
            join_all(lines.iter_mut().enumerate().map(|(pair, line)| both(line, pair, round))).await;
        }
        kit.stop().await;
    }

    async fn o_18_output_is_cut_between_characters_and_calls_keep_their_results(kit: Kit, talkative(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let all = |script: Script, cut: usize| script.call(&format!("say{cut}"), &json!({}));
        let calls = (1..=CUTS).fold(Script::new(), all).usage(10, 2).finish(StopReason::ToolUse);
        kit.test.model().push([calls, Script::says("heard")]);
        let say = |text: &str| json!({"message": text, "namespace": "a"});
        assert_eq!(kit.chat(&key, say("say all")).await.status, 200);
        let body = kit.get(&key, "a").await.body();
        let results = body["messages"][2]["tool_results"].as_array().unwrap();
        assert_eq!(results.len(), CUTS);
        for call in body["messages"][1]["tool_calls"].as_array().unwrap() {
            let cut: usize = call["name"].as_str().unwrap()[3..].parse().unwrap();
            let result = results.iter().find(|result| result["call_id"] == call["id"]).unwrap();
            let (kept, note) = result["content"].as_str().unwrap().split_once("\n[cut: ").unwrap();
            assert!(said(cut).starts_with(kept) && kept.len() > TOOL_OUTPUT_SHOWN_BYTES - 4, "{cut}");
            assert_eq!(note, format!("{} more bytes]", said(cut).len() - kept.len()));
        }
        // More of the same, until the model has no more room, and is asked for a summary.
        for n in 1..=3 {
            let used = if n == 3 { 900 } else { 10 };
            let one = Script::calls(&[("say7", json!({}))]);
            kit.test.model().push([one, Script::new().text("heard").usage(used, 50).end()]);
            assert_eq!(kit.chat(&key, say("once more")).await.status, 200);
        }
        kit.test.model().push([Script::says("They were told much."), Script::says("all of it")]);
        assert_eq!(kit.chat(&key, say("and?")).await.body()["message"], "all of it");
        let prompts = kit.test.model().prompts();
        for prompt in &prompts {
            validate(prompt).unwrap();
        }
        let last = prompts.last().unwrap();
        assert!(format!("{last:?}").contains("They were told much."), "what came before was trimmed");
        assert!(last.len() < prompts[prompts.len() - 3].len());
        kit.stop().await;
    }
}
