//! `/chat/completions`.

use moongate_core::PromptMessage;
use moongate_protocol::{Effect, Part};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use super::{Live, SOON, asks, http, weather};

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn deltas(events: &[http::Event], field: &str) -> String {
    let pieces = events.iter().filter(|event| event.data != "[DONE]").map(http::Event::json);
    pieces.filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn an_agent_answers_whole() {
    let live = Live::new().await;
    live.push([Script::says("Hello!")]);
    let reply = live.post("/chat/completions", asks("hi")).await.ok();
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "moongate/main");
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(reply["choices"][0]["message"]["content"], "Hello!");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["usage"]["total_tokens"], 12);
}

#[tokio::test]
async fn an_agent_answers_in_pieces_and_says_what_it_took() {
    let live = Live::new().await;
    let thinks = moongate_core::Piece::Reasoning("hm".into());
    live.push([Script::new().piece(thinks).text("Hel").text("lo!").usage(7, 3).end()]);
    let mut body = asks("hi");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let mut stream = live.stream("/chat/completions", body).await;
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = stream.rest().await;
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert_eq!(events[0].json()["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        (deltas(&events, "content"), deltas(&events, "reasoning_content")),
        ("Hello!".into(), "hm".into())
    );
    let usage = &events[events.len() - 2].json();
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(3)));
    assert_eq!(events[events.len() - 3].json()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn the_clients_tools_are_asked_for_and_their_results_come_with_the_next_request() {
    let live = Live::with(Setup::default().tool(ScriptedTool::new("look", Effect::Read))).await;
    live.push([
        Script::calls(&[("look", json!({}))]),
        Script::calls(&[("weather", json!({"city": "Oslo"})), ("weather", json!({"city": "Rome"}))]),
        Script::says("Mild."),
    ]);
    let mut body = asks("how is it?");
    body["tools"] = json!([weather()]);
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = live.stream("/chat/completions", streamed).await.rest().await;
    let chunks: Vec<Value> =
        events.iter().filter(|event| event.data != "[DONE]").map(http::Event::json).collect();
    let calls: Vec<&Value> = chunks
        .iter()
        .flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls.len(), 2, "the agent's own call is not shown: {calls:?}");
    assert_eq!((&calls[0]["index"], &calls[1]["index"]), (&json!(0), &json!(1)));
    assert_eq!(calls[1]["function"]["arguments"], r#"{"city":"Rome"}"#);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    for (call, result) in calls.iter().zip(["12 °C", "20 °C"]) {
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": result}));
    }
    let reply = live.post("/chat/completions", body).await.ok();
    assert_eq!(reply["choices"][0]["message"]["content"], "Mild.");
    let prompt = live.kit.model().prompts().pop().unwrap();
    let results: Vec<_> = prompt
        .iter()
        .filter_map(|message| match message {
            PromptMessage::ToolResult { content, is_error, .. } => {
                Some((Part::join_text(content), *is_error))
            }
            _ => None,
        })
        .collect();
    assert_eq!(results, [("12 °C".to_owned(), false), ("20 °C".to_owned(), false)]);
}

#[tokio::test]
async fn a_request_is_the_whole_context_and_nothing_of_it_is_kept() {
    let live = Live::new().await;
    let body = json!({"model": "scripted/main", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": [
            {"type": "text", "text": "two"},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
        ]},
    ]});
    live.post("/chat/completions", body).await.ok();
    let request = live.kit.model().requests().pop().unwrap();
    assert_eq!(&*request.system, "Be brief.\n\nBe kind.");
    assert_eq!((request.messages.len(), request.attachments.len()), (3, 2));
    assert_eq!(live.kit.disk().unfinished().await.unwrap().len(), 0);
    let query = moongate_core::ListQuery { limit: 9, ..Default::default() };
    assert!(live.kit.disk().list(&"default".parse().unwrap(), &query).await.unwrap().is_empty());
    for blob in request.attachments.keys() {
        assert!(live.kit.disk().blob(*blob).await.unwrap().is_none(), "attachments are not kept either");
    }
}

#[tokio::test]
async fn a_named_session_is_durable_and_only_what_is_new_counts() {
    let live = Live::new().await;
    live.push([Script::says("1"), Script::says("2"), Script::says("3")]);
    let name = [("x-moongate-session", "my chat")];
    let first = http::send(&live, "POST", "/chat/completions", Some(asks("one")), &name).await;
    first.ok();
    let id = first.header("x-moongate-session").unwrap().to_owned();
    assert!(id.starts_with("ses_"), "{id}");
    let body = json!({"model": "moongate/main", "messages": [
        {"role": "user", "content": "forget this"}, {"role": "assistant", "content": "and this"},
        {"role": "user", "content": "two"},
    ]});
    let second = http::send(&live, "POST", "/chat/completions", Some(body), &name).await;
    assert_eq!(second.header("x-moongate-session"), Some(id.as_str()));
    let by_id = [("x-moongate-session", id.as_str())];
    http::send(&live, "POST", "/chat/completions", Some(asks("three")), &by_id).await.ok();
    let said = |message: &PromptMessage| match message {
        PromptMessage::User(parts) | PromptMessage::Assistant(parts) => Part::join_text(parts),
        PromptMessage::ToolResult { .. } => String::new(),
    };
    let prompt: Vec<_> = live.kit.model().prompts().pop().unwrap().iter().map(said).collect();
    assert_eq!(prompt, ["one", "1", "two", "2", "three"]);
}

#[tokio::test]
async fn a_client_that_goes_away_stops_what_nobody_else_can_see() {
    let live = Live::new().await;
    let gate = Gate::new();
    live.push([Script::new().text("Hel").gate(&gate).text("lo").end()]);
    let mut body = asks("hi");
    body["stream"] = json!(true);
    let mut stream = live.stream("/chat/completions", body).await;
    gate.reached().await;
    assert!(stream.next().await.is_some());
    drop(stream);
    let stopped = async {
        while live.kit.gateway().running_turns() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, stopped).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_told_in_openais_shape_whole_and_in_the_stream() {
    let live = Live::new().await;
    let fails = || {
        let code = moongate_protocol::ErrorCode::ProviderRateLimited;
        Script::new().piece(moongate_core::Piece::Fault(moongate_core::Fault::new(code, "too many")))
    };
    live.push([fails(), fails()]);
    let whole = live.post("/chat/completions", asks("hi")).await;
    assert_eq!((whole.status, whole.json()["error"]["message"].clone()), (502, json!("too many")));
    let mut body = asks("hi");
    body["stream"] = json!(true);
    let events = live.stream("/chat/completions", body).await.rest().await;
    assert_eq!(events.last().unwrap().json()["error"]["message"], "too many");
    assert!(events.iter().all(|event| event.data != "[DONE]"));
}

#[tokio::test]
async fn what_is_not_done_is_refused_and_not_left_out() {
    let live = Live::new().await;
    let cases = [
        ("n", json!(2)),
        ("stop", json!(["x"])),
        ("logprobs", json!(true)),
        ("response_format", json!({"type": "json_object"})),
        ("functions", json!([{"name": "x"}])),
        ("modalities", json!(["text", "audio"])),
        ("tools", json!([{"type": "web_search"}])),
    ];
    for (field, value) in cases {
        let mut body = asks("hi");
        body[field] = value;
        let reply = live.post("/chat/completions", body).await;
        assert_eq!((reply.status, reply.json()["error"]["param"].clone()), (400, json!(field)));
    }
    let bad = [
        json!({"model": "moongate/main", "messages": []}),
        json!({"model": "moongate/main", "messages": [{"role": "user", "content": ""}]}),
        json!({"model": "moongate/main", "messages": [{"role": "wizard", "content": "x"}]}),
        json!({"model": "moongate/main", "messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}),
        json!({"model": "moongate/main", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}]}]}),
        json!({"messages": []}),
        json!([]),
    ];
    for body in bad {
        let reply = live.post("/chat/completions", body.clone()).await;
        assert_eq!(reply.status, 400, "{body}");
    }
    assert!(live.kit.model().requests().is_empty());
}
