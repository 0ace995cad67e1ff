//! `/responses`: stored and not, chained, in the background, cancelled, deleted.

use moongate_core::{ListQuery, PromptMessage};
use moongate_protocol::Part;
use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};

use super::{Live, SOON, weather_flat};

fn says(text: &str) -> Value {
    json!({"model": "moongate/main", "input": text})
}

fn text(response: &Value) -> String {
    let items = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == "message");
    items.map(|item| item["content"][0]["text"].as_str().unwrap()).collect()
}

/// What the model was handed last, in short.
fn prompt(live: &Live) -> Vec<String> {
    let said = |message: &PromptMessage| match message {
        PromptMessage::User(parts) | PromptMessage::Assistant(parts) => Part::join_text(parts),
        PromptMessage::ToolResult { content, .. } => format!("→ {}", Part::join_text(content)),
    };
    live.kit.model().prompts().pop().unwrap().iter().map(said).collect()
}

async fn kept(live: &Live) -> usize {
    let query = ListQuery { limit: 9, ..Default::default() };
    live.kit.disk().list(&"default".parse().unwrap(), &query).await.unwrap().len()
}

#[tokio::test]
async fn a_response_is_stored_and_read_again_until_it_is_deleted() {
    let live = Live::new().await;
    live.push([Script::says("Hello!")]);
    let mut body = says("hi");
    body["metadata"] = json!({"a": "b", "openai.model": "forged"});
    body["instructions"] = json!("Be brief.");
    let made = live.post("/responses", body).await.ok();
    assert_eq!((made["status"].as_str(), text(&made).as_str()), (Some("completed"), "Hello!"));
    assert_eq!(made["metadata"], json!({"a": "b"}));
    assert_eq!((&made["instructions"], &made["model"]), (&json!("Be brief."), &json!("moongate/main")));
    assert_eq!(made["usage"]["total_tokens"], 12);
    let path = format!("/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(live.get(&path).await.ok(), made);
    let items = live.get(&format!("{path}/input_items")).await.ok();
    assert_eq!(items["data"][0]["content"][0], json!({"type": "input_text", "text": "hi"}));
    assert_eq!(live.delete(&path).await.ok()["deleted"], true);
    assert_eq!(live.get(&path).await.status, 404);
    assert_eq!(kept(&live).await, 0, "nothing else was in that session");
}

#[tokio::test]
async fn a_response_that_is_not_stored_leaves_nothing() {
    let live = Live::new().await;
    let mut body = says("hi");
    body["store"] = json!(false);
    let made = live.post("/responses", body.clone()).await.ok();
    assert_eq!(made["store"], false);
    assert_eq!(live.get(&format!("/responses/{}", made["id"].as_str().unwrap())).await.status, 404);
    assert_eq!(kept(&live).await, 0);
    body["background"] = json!(true);
    assert_eq!(live.post("/responses", body).await.status, 400);
}

#[tokio::test]
async fn a_chain_goes_on_in_one_session_and_branches_where_two_go_on_from_one() {
    let live = Live::new().await;
    live.push(["1", "2", "3", "4"].map(Script::says));
    let first = live.post("/responses", says("one")).await.ok();
    let after = |id: &Value, text: &str| {
        let mut body = says(text);
        body["previous_response_id"] = id.clone();
        body
    };
    let second = live.post("/responses", after(&first["id"], "two")).await.ok();
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!((prompt(&live), kept(&live).await), (vec!["one".into(), "1".into(), "two".into()], 1));
    let branch = live.post("/responses", after(&first["id"], "other")).await.ok();
    assert_eq!((prompt(&live), kept(&live).await), (vec!["one".into(), "1".into(), "other".into()], 2));
    live.post("/responses", after(&branch["id"], "on")).await.ok();
    assert_eq!(prompt(&live), ["one", "1", "other", "3", "on"]);
    let mut fleeting = after(&second["id"], "aside");
    fleeting["store"] = json!(false);
    live.post("/responses", fleeting).await.ok();
    assert_eq!(
        (prompt(&live), kept(&live).await),
        (["one", "1", "two", "2", "aside"].map(str::to_owned).to_vec(), 2)
    );
    let lost = live.post("/responses", after(&json!("resp_x"), "x")).await;
    assert_eq!(
        (lost.status, lost.json()["error"]["code"].clone()),
        (400, json!("previous_response_not_found"))
    );
    // One of a chain is deleted: the others stay.
    let path = format!("/responses/{}", first["id"].as_str().unwrap());
    live.delete(&path).await.ok();
    assert_eq!(live.get(&path).await.status, 404);
    live.get(&format!("/responses/{}", second["id"].as_str().unwrap())).await.ok();
}

#[tokio::test]
async fn functions_of_the_client_are_called_and_answered() {
    let live = Live::new().await;
    live.push([
        Script::new().text("I look.").call("weather", &json!({"city": "Oslo"})).end(),
        Script::says("Mild."),
    ]);
    let mut body = says("how is it?");
    body["tools"] = json!([weather_flat()]);
    let asked = live.post("/responses", body).await.ok();
    let call = &asked["output"][1];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")));
    assert_eq!(
        (&call["arguments"], asked["status"].as_str()),
        (&json!(r#"{"city":"Oslo"}"#), Some("completed"))
    );
    let answer = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "12 °C"}]);
    let body = json!({"model": "moongate/main", "previous_response_id": asked["id"], "input": answer});
    assert_eq!(text(&live.post("/responses", body.clone()).await.ok()), "Mild.");
    assert_eq!(prompt(&live), ["how is it?", "I look.", "→ 12 °C"]);
    // The same with everything in the request, as clients do that keep nothing here.
    let all = json!([
        {"role": "user", "content": "how is it?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "rain"}]},
    ]);
    live.post("/responses", json!({"model": "moongate/main", "store": false, "input": all})).await.ok();
    assert_eq!(prompt(&live), ["how is it?", "I look.", "→ rain"]);
    let unknown = json!([{"type": "function_call_output", "call_id": "nobody", "output": "x"}]);
    assert_eq!(
        live.post("/responses", json!({"model": "moongate/main", "input": unknown})).await.status,
        400
    );
}

#[tokio::test]
async fn a_background_response_is_told_at_once_runs_alone_and_can_be_cancelled() {
    let live = Live::new().await;
    let gate = Gate::new();
    live.push([Script::new().text("half").gate(&gate).text("whole").end()]);
    let mut body = says("hi");
    body["background"] = json!(true);
    let made = live.post("/responses", body).await.ok();
    assert!(["queued", "in_progress"].contains(&made["status"].as_str().unwrap()), "{made}");
    assert_eq!((&made["background"], &made["completed_at"]), (&json!(true), &Value::Null));
    gate.reached().await;
    let path = format!("/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(live.get(&path).await.ok()["status"], "in_progress");
    let cancelled = live.post(&format!("{path}/cancel"), json!({})).await.ok();
    assert_eq!((cancelled["status"].as_str(), text(&cancelled).as_str()), (Some("cancelled"), "half"));
    assert_eq!(live.post(&format!("{path}/cancel"), json!({})).await.ok()["status"], "cancelled");
}

#[tokio::test]
async fn a_queued_response_can_be_cancelled_before_it_begins() {
    let live = Live::new().await;
    let gate = Gate::new();
    live.push([Script::new().gate(&gate).text("1").end()]);
    let conversation = live.post("/conversations", json!({})).await.ok()["id"].clone();
    let within = |text: &str| json!({"model": "moongate/main", "conversation": conversation, "input": text, "background": true});
    live.post("/responses", within("one")).await.ok();
    gate.reached().await;
    let second = live.post("/responses", within("two")).await.ok();
    assert_eq!(second["status"], "queued");
    let path = format!("/responses/{}/cancel", second["id"].as_str().unwrap());
    assert_eq!(live.post(&path, json!({})).await.ok()["status"], "cancelled");
    gate.open();
}

#[tokio::test]
async fn a_stream_tells_everything_in_order_and_the_client_may_go_away() {
    let live = Live::new().await;
    let gate = Gate::new();
    let thinks = moongate_core::Piece::Reasoning("hm".into());
    let done = moongate_core::Piece::ReasoningEnd { signature: None };
    live.push([Script::new()
        .piece(thinks)
        .piece(done)
        .text("Hel")
        .gate(&gate)
        .text("lo!")
        .usage(1, 2)
        .end()]);
    let mut body = says("hi");
    body["stream"] = json!(true);
    let mut stream = live.stream("/responses", body).await;
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["type"] != "response.output_text.delta") {
        let event = stream.next().await.unwrap();
        assert_eq!(event.name.as_deref(), event.json()["type"].as_str());
        events.push(event.json());
    }
    let id = events[0]["response"]["id"].as_str().unwrap().to_owned();
    gate.open();
    events.extend(stream.rest().await.iter().map(super::http::Event::json));
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds, expected);
    let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(events.last().unwrap()["response"], live.get(&format!("/responses/{id}")).await.ok());
    // A client that goes away leaves the turn running: it is stored, and can be read later.
    let gate = Gate::new();
    live.push([Script::new().text("a").gate(&gate).text("b").end()]);
    let mut body = says("again");
    body["stream"] = json!(true);
    let mut stream = live.stream("/responses", body).await;
    let id = stream.next().await.unwrap().json()["response"]["id"].as_str().unwrap().to_owned();
    gate.reached().await;
    drop(stream);
    gate.open();
    let completed = async {
        while live.get(&format!("/responses/{id}")).await.ok()["status"] != "completed" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, completed).await.unwrap();
}

#[tokio::test]
async fn a_response_cut_by_its_limit_is_incomplete_and_a_failed_one_says_why() {
    let live = Live::new().await;
    let code = moongate_protocol::ErrorCode::ProviderAuth;
    live.push([
        Script::new().text("a lot").finish(moongate_protocol::StopReason::MaxTokens),
        Script::new().piece(moongate_core::Piece::Fault(moongate_core::Fault::new(code, "no"))),
    ]);
    let cut = live.post("/responses", says("hi")).await.ok();
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]),
        (&json!("incomplete"), &json!({"reason": "max_output_tokens"}))
    );
    let mut body = says("hi");
    body["stream"] = json!(true);
    let events = live.stream("/responses", body).await.rest().await;
    let last = events.last().unwrap().json();
    assert_eq!(
        (&last["type"], &last["response"]["error"]["message"]),
        (&json!("response.failed"), &json!("no"))
    );
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let live = Live::new().await;
    let cases = [
        json!({"model": "moongate/main", "input": "x", "previous_response_id": "resp_x", "conversation": "conv_x"}),
        json!({"model": "moongate/main", "input": "x", "conversation": "conv_x"}),
        json!({"model": "moongate/main"}),
        json!({"model": "moongate/main", "input": [{"type": "item_reference", "id": "x"}]}),
        json!({"model": "moongate/main", "input": "x", "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}),
        json!({"model": "nobody", "input": "x"}),
    ];
    for body in cases {
        let reply = live.post("/responses", body.clone()).await;
        assert!((400..=404).contains(&reply.status), "{body}: {reply:?}");
    }
    assert!(live.kit.model().requests().is_empty());
    // Tools that OpenAI runs are left out, and the reply says which are offered.
    let tools = json!([{"type": "web_search"}, {"type": "custom", "name": "x"}, weather_flat()]);
    let offered =
        live.post("/responses", json!({"model": "moongate/main", "input": "x", "tools": tools})).await.ok();
    assert_eq!(
        (offered["tools"].as_array().unwrap().len(), &offered["tools"][0]["name"]),
        (1, &json!("weather"))
    );
}
