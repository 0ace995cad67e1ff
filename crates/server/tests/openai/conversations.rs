//! `/conversations`.

use moongate_core::PromptMessage;
use moongate_protocol::{Effect, Part};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use super::{Live, weather_flat};

#[tokio::test]
async fn a_conversation_begins_with_items_goes_on_by_responses_and_is_deleted() {
    let live = Live::new().await;
    live.push([Script::says("4")]);
    let items = json!([
        {"role": "user", "content": "1+1?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "2"}]},
    ]);
    let made = live.post("/conversations", json!({"items": items, "metadata": {"a": "b"}})).await.ok();
    assert_eq!((&made["object"], &made["metadata"]), (&json!("conversation"), &json!({"a": "b"})));
    let id = made["id"].as_str().unwrap();
    assert!(live.kit.model().requests().is_empty(), "nothing said before is answered");
    let body = json!({"model": "moongate/main", "conversation": {"id": id}, "input": "2+2?"});
    let response = live.post("/responses", body).await.ok();
    assert_eq!(response["conversation"]["id"], id);
    let list = live.get(&format!("/conversations/{id}/items?order=asc&limit=3")).await.ok();
    let texts: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|item| item["content"][0]["text"].clone()).collect();
    assert_eq!((texts, &list["has_more"]), (vec![json!("1+1?"), json!("2"), json!("2+2?")], &json!(true)));
    let after = list["last_id"].as_str().unwrap();
    let rest = live.get(&format!("/conversations/{id}/items?order=asc&after={after}")).await.ok();
    assert_eq!(
        (rest["data"][0]["content"][0]["text"].as_str(), &rest["has_more"]),
        (Some("4"), &json!(false))
    );
    let item = live.get(&format!("/conversations/{id}/items/{after}")).await.ok();
    assert_eq!(item["content"][0]["text"], "2+2?");
    let changed = live.post(&format!("/conversations/{id}"), json!({"metadata": {"c": "d"}})).await.ok();
    assert_eq!(changed["metadata"], json!({"c": "d"}));
    assert_eq!(live.get(&format!("/conversations/{id}")).await.ok(), changed);
    // One response of a conversation is deleted: the conversation stays.
    live.delete(&format!("/responses/{}", response["id"].as_str().unwrap())).await.ok();
    live.get(&format!("/conversations/{id}")).await.ok();
    assert_eq!(live.delete(&format!("/conversations/{id}")).await.ok()["deleted"], true);
    assert_eq!(live.get(&format!("/conversations/{id}")).await.status, 404);
}

/// What the model was handed last, in short.
fn prompt(live: &Live) -> Vec<String> {
    let said = |message: &PromptMessage| match message {
        PromptMessage::User(parts) | PromptMessage::Assistant(parts) => Part::join_text(parts),
        PromptMessage::ToolResult { content, .. } => format!("→ {}", Part::join_text(content)),
    };
    live.kit.model().prompts().pop().unwrap().iter().map(said).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|item| item["content"][0]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn items_are_added_to_a_conversation_and_the_next_response_knows_them() {
    let mut live = Live::new().await;
    live.push([Script::says("2")]);
    let id = live.post("/conversations", json!({})).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/conversations/{id}/items");
    let within = |text: &str| json!({"model": "moongate/main", "conversation": id, "input": text});
    live.post("/responses", within("1+1?")).await.ok();
    let png = "data:image/png;base64,iVBORw0KGgo=";
    let more = json!({"items": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "2+2?"}, {"type": "input_image", "image_url": png}]},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "And 3+3?"},
    ]});
    let added = live.post(&path, more).await.ok();
    assert_eq!((added["object"].as_str(), texts(&added)), (Some("list"), vec!["2+2?", "4", "And 3+3?"]));
    assert_eq!((&added["first_id"], &added["has_more"]), (&added["data"][0]["id"], &json!(false)));
    assert_eq!(live.kit.model().requests().len(), 1, "nothing answers them by itself");
    let last = format!("{path}/{}", added["last_id"].as_str().unwrap());
    assert_eq!(live.get(&last).await.ok(), added["data"][2]);
    live.restart().await;
    let list = live.get(&format!("{path}?order=asc")).await.ok();
    assert_eq!(texts(&list), ["1+1?", "2", "2+2?", "4", "And 3+3?"], "they are on disk");
    live.push([Script::says("6")]);
    live.post("/responses", within("well?")).await.ok();
    assert_eq!(
        prompt(&live),
        ["1+1?", "2", "2+2?", "4", "And 3+3?well?"],
        "two messages of one person are one to a model"
    );
    assert_eq!(live.kit.model().requests().pop().unwrap().attachments.len(), 1);
}

#[tokio::test]
async fn calls_and_their_outputs_are_items_as_well_and_the_agents_own_are_not() {
    let live = Live::with(Setup::default().tool(ScriptedTool::new("look", Effect::Read))).await;
    live.push([
        Script::calls(&[("look", json!({}))]),
        Script::new().text("I ask.").call("weather", &json!({"city": "Oslo"})).end(),
    ]);
    let call = json!({"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"});
    let begun = json!({"items": [{"role": "user", "content": "how is it?"}, call]});
    let id = live.post("/conversations", begun).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/conversations/{id}/items");
    let output = json!({"items": [{"type": "function_call_output", "call_id": "c1", "output": "rain"}]});
    let added = live.post(&path, output).await.ok();
    assert_eq!(
        (&added["data"][0]["type"], &added["data"][0]["output"]),
        (&json!("function_call_output"), &json!("rain"))
    );
    let body =
        json!({"model": "moongate/main", "conversation": id, "input": "and now?", "tools": [weather_flat()]});
    live.post("/responses", body).await.ok();
    let first = &live.kit.model().prompts()[0];
    assert!(
        matches!(&first[2], PromptMessage::ToolResult { content, .. } if Part::join_text(content) == "rain")
    );
    let list = live.get(&format!("{path}?order=asc")).await.ok();
    let kinds: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    let expected =
        ["message", "function_call", "function_call_output", "message", "message", "function_call"];
    assert_eq!(kinds, expected, "{list}");
    assert_eq!(list["data"][5]["name"], "weather");
}

#[tokio::test]
async fn items_that_cannot_be_added_or_taken_out_are_refused_and_change_nothing() {
    let live = Live::new().await;
    let gate = Gate::new();
    let id = live.post("/conversations", json!({})).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/conversations/{id}/items");
    let user = json!({"role": "user", "content": "x"});
    let bad = [
        json!({}),
        json!({"items": []}),
        json!({"items": "x"}),
        json!({"items": vec![user.clone(); 21]}),
        json!({"items": [{"role": "system", "content": "Be brief."}]}),
        json!({"items": [{"type": "item_reference", "id": "x"}]}),
        json!({"items": [{"type": "function_call_output", "call_id": "nobody", "output": "x"}]}),
        json!({"items": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/"}]}]}),
    ];
    for body in bad {
        let reply = live.post(&path, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}");
    }
    let one = json!({"items": [user]});
    let item = live.post(&path, one.clone()).await.ok()["first_id"].as_str().unwrap().to_owned();
    let gone = live.delete(&format!("{path}/{item}")).await;
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (400, &json!("unsupported_parameter")));
    live.push([Script::new().gate(&gate).text("a").end()]);
    let body = json!({"model": "moongate/main", "conversation": id, "input": "y", "background": true});
    live.post("/responses", body).await.ok();
    gate.reached().await;
    let busy = live.post(&path, one).await;
    assert_eq!(busy.status, 409, "{busy:?}");
    assert!(busy.header("retry-after").is_some());
    gate.open();
    let list = live.get(&format!("{path}?order=asc")).await.ok();
    assert_eq!(texts(&list)[..2], ["x", "y"]);
}

#[tokio::test]
async fn labels_of_a_conversation_are_its_clients() {
    let live = Live::new().await;
    let id = live.post("/conversations", json!({"metadata": {"a": "1"}})).await.ok()["id"].clone();
    let path = format!("/conversations/{}", id.as_str().unwrap());
    let forged = json!({"metadata": {"b": "2", "openai.deleted.x": "true"}});
    assert_eq!(live.post(&path, forged).await.ok()["metadata"], json!({"b": "2"}));
    for bad in [
        json!({"metadata": {"a": 1}}),
        json!({"metadata": []}),
        json!({"metadata": {"a": "x".repeat(100_000)}}),
    ] {
        let reply = live.post(&path, bad).await;
        assert!([400, 413].contains(&reply.status), "{reply:?}");
    }
    assert_eq!(live.get(&path).await.ok()["metadata"], json!({"b": "2"}));
    assert_eq!(live.post(&path, json!({"metadata": null})).await.ok()["metadata"], json!({}));
}

#[tokio::test]
async fn a_response_is_read_without_what_stands_before_it() {
    let live = Live::new().await;
    let id = live.post("/conversations", json!({})).await.ok()["id"].clone();
    let mut last = Value::Null;
    for _ in 0..150 {
        let body = json!({"model": "moongate/main", "conversation": id, "input": "more"});
        last = live.post("/responses", body).await.ok();
    }
    let path = format!("/responses/{}", last["id"].as_str().unwrap());
    for more in ["", "/input_items", "?stream=true", "?stream=true&starting_after=3"] {
        let before = live.kit.store().events_read();
        assert_eq!(live.get(&format!("{path}{more}")).await.status, 200);
        let read = live.kit.store().events_read() - before;
        assert!(read < 20, "{read} events were read for {more}");
    }
    assert_eq!(live.get(&path).await.ok(), last);
}
