//! Saying something and following what comes of it.

mod common;

use axum::body::Body;
use common::{Gate, Stream, read};
use serde_json::json;

#[tokio::test]
async fn an_input_is_acknowledged_with_its_position() {
    let gate = Gate::new();
    let session = gate.session().await;
    let (status, body) = gate.post(&format!("{session}/inputs"), json!({ "text": "hello" })).await;
    assert_eq!(status, 202, "{body}");
    assert!(body["input"].as_str().unwrap().starts_with("inp_"));
    assert_eq!(body["position"]["seq"], 2);
    let events = gate.stream(&format!("{session}/events")).await.until("turn.completed").await;
    assert_eq!(events[1].event, "input.accepted");
    assert_eq!(events[1].data["input"], body["input"]);
}

#[tokio::test]
async fn an_inputs_turn_follows_as_a_stream_and_ends_with_it() {
    let gate = Gate::new();
    let session = gate.session().await;
    let request = gate
        .request("POST", &format!("{session}/inputs"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let response = gate.send(request.body(Body::from(r#"{"text":"one two three"}"#)).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let events = Stream::new(response).rest().await;
    let names: Vec<_> = events.iter().map(|sent| sent.event.as_str()).collect();
    assert_eq!(names.first(), Some(&"accepted"), "{names:?}");
    assert_eq!(names.last(), Some(&"turn.completed"), "{names:?}");
    assert!(names.contains(&"delta") && names.contains(&"turn.started"), "{names:?}");
    let mut text = String::new();
    for delta in events.iter().filter(|sent| sent.event == "delta" && sent.data["kind"] == "text") {
        let offset = usize::try_from(delta.data["offset"].as_u64().unwrap()).unwrap();
        text = text.chars().take(offset).collect::<String>() + delta.data["text"].as_str().unwrap();
    }
    assert_eq!(text, "echo: one two three");
}

#[tokio::test]
async fn a_preference_waits_for_the_result() {
    let gate = Gate::new();
    let session = gate.session().await;
    let result = gate.turn(&session, "hello there").await;
    assert_eq!(result["text"], "echo: hello there");
    assert_eq!(result["stop_reason"], "end_turn");
    assert_eq!(result["ending"], "completed");
    assert_eq!(result["usage"]["output"], 5);
    assert_eq!(result["usage"]["cost_usd"], 0.000_013);
    assert_eq!(result["tool_calls"], json!([]));
}

#[tokio::test]
async fn when_time_runs_out_the_input_is_acknowledged_and_the_turn_goes_on() {
    let gate = Gate::new();
    let session = gate.session().await;
    let request = gate
        .request("POST", &format!("{session}/inputs"))
        .header("content-type", "application/json")
        .header("prefer", "wait=1");
    let response = gate.send(request.body(Body::from(r#"{"text":"hold on"}"#)).unwrap()).await;
    let (status, body) = read(response).await;
    assert_eq!(status, 202, "{body}");
    gate.permits.add_permits(1);
    gate.stream(&format!("{session}/events")).await.until("turn.completed").await;
}
