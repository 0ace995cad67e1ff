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

#[tokio::test(start_paused = true)]
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

#[tokio::test]
async fn the_same_submission_gets_the_same_answer_and_another_body_does_not() {
    let gate = Gate::new();
    let session = gate.session().await;
    let send = |body: &'static str, accept: Option<&'static str>| {
        let mut request = gate
            .request("POST", &format!("{session}/inputs"))
            .header("content-type", "application/json")
            .header("idempotency-key", "once");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        gate.send(request.body(Body::from(body)).unwrap())
    };
    let (status, first) = read(send(r#"{"text":"hi"}"#, None).await).await;
    assert_eq!(status, 202);
    gate.stream(&format!("{session}/events")).await.until("turn.completed").await;
    let (status, second) = read(send(r#"{"text":"hi"}"#, None).await).await;
    assert_eq!((status.as_u16(), &second), (202, &first));
    let (status, other) = read(send(r#"{"text":"ho"}"#, None).await).await;
    assert_eq!((status.as_u16(), &other["error"]["code"]), (422, &json!("idempotency_mismatch")));
    // Asked for as a stream, the turn that is long over is told again.
    let events = Stream::new(send(r#"{"text":"hi"}"#, Some("text/event-stream")).await).rest().await;
    assert_eq!(events[0].data, first);
    assert_eq!(events.last().unwrap().event, "turn.completed");
    let (_, messages) = gate.get(&format!("{session}/messages")).await;
    assert_eq!(messages["items"].as_array().unwrap().len(), 2, "it ran once");
}

#[tokio::test]
async fn inputs_wait_are_withdrawn_and_refused_when_busy() {
    let gate = Gate::new();
    let session = gate.session().await;
    let inputs = format!("{session}/inputs");
    gate.post(&inputs, json!({ "text": "hold this" })).await;
    let (_, waiting) = gate.post(&inputs, json!({ "text": "later" })).await;
    assert_eq!(waiting["queue_length"], 1);
    let (status, busy) = gate.post(&inputs, json!({ "text": "now", "overlap": "reject" })).await;
    assert_eq!((status.as_u16(), &busy["error"]["code"]), (409, &json!("busy")));
    assert_eq!(busy["error"]["retry_after_s"], 1);
    let input = waiting["input"].as_str().unwrap();
    assert_eq!(gate.delete(&format!("{inputs}/{input}")).await.0, 204);
    assert_eq!(gate.delete(&format!("{inputs}/{input}")).await.0, 404);
    let (_, view) = gate.get(&session).await;
    assert_eq!((&view["state"], &view["queue"]), (&json!("running"), &json!([])));
}

#[tokio::test]
async fn a_cancel_stops_the_turn_and_its_stream_says_so() {
    let gate = Gate::new();
    let session = gate.session().await;
    let request = gate
        .request("POST", &format!("{session}/inputs"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream");
    let response = gate.send(request.body(Body::from(r#"{"text":"hold on"}"#)).unwrap()).await;
    let mut stream = Stream::new(response);
    let started = stream.until("turn.started").await.pop().unwrap();
    let (status, body) = gate.post(&format!("{session}/cancel"), json!({})).await;
    assert_eq!((status.as_u16(), &body["turn"]), (200, &started.data["turn"]), "{body}");
    assert_eq!(stream.rest().await.last().unwrap().event, "turn.cancelled");
    let (status, body) = gate.post(&format!("{session}/cancel"), json!({})).await;
    assert_eq!((status.as_u16(), &body), (200, &json!({ "turn": null, "stopped": [] })));
    let (status, _) = gate.post(&format!("{session}/cancel"), json!({ "turn": started.data["turn"] })).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_failed_turn_is_a_result_that_says_why() {
    let gate = Gate::new();
    let session = gate.session().await;
    let result = gate.turn(&session, "fail").await;
    assert_eq!((&result["ending"], &result["stop_reason"]), (&json!("failed"), &json!(null)));
    assert_eq!(result["error"]["code"], "provider_auth");
}

#[tokio::test]
async fn what_is_not_an_input_is_refused_with_its_place() {
    let gate = Gate::new();
    let session = gate.session().await;
    let image = |fields: serde_json::Value| {
        let mut image = json!({ "type": "image" });
        image.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "parts": [image] })
    };
    let table = [
        (json!({}), 400, None),
        (json!({ "text": "a", "parts": [] }), 400, None),
        (json!({ "text": "" }), 400, None),
        (json!({ "text": 1 }), 400, Some("text")),
        (json!({ "parts": [] }), 400, None),
        (json!({ "text": "a", "role": "assistant" }), 400, None),
        (json!({ "parts": [{ "type": "tool_call", "text": "x" }] }), 400, Some("parts[0].type")),
        (json!({ "parts": [{ "type": "text", "text": "x", "role": "system" }] }), 400, Some("parts[0].role")),
        (json!({ "parts": [["text", "x"]] }), 400, Some("parts[0]")),
        (json!({ "parts": [{ "type": "text", "text": "x", "name": "y" }] }), 400, Some("parts[0]")),
        (json!({ "parts": [{ "type": "file", "data": "AAAA" }] }), 400, Some("parts[0]")),
        (json!({ "text": "a", "overlap": "now" }), 400, Some("overlap")),
        (json!({ "text": "a", "model": "no/such" }), 422, None),
        (json!({ "text": "a", "temperature": 3 }), 400, None),
        (json!({ "text": "a", "metadata": { "k": 1 } }), 400, Some("metadata.k")),
        (json!({ "text": "x".repeat(300_000) }), 413, None),
        (json!({ "text": "x".repeat(1_100_000) }), 413, None),
        (image(json!({})), 400, Some("parts[0]")),
        (image(json!({ "blob": ["0".repeat(64), "image/png", 1] })), 400, Some("parts[0].blob")),
        (image(json!({ "media_type": "image/png", "data": "no base64!" })), 400, Some("parts[0].data")),
        (image(json!({ "media_type": "image/png", "data": "" })), 400, Some("parts[0].data")),
        (image(json!({ "media_type": "text/html", "data": "AAAA" })), 400, Some("parts[0].media_type")),
        (
            image(json!({ "media_type": "image/png\r\nx: y", "data": "AAAA" })),
            400,
            Some("parts[0].media_type"),
        ),
    ];
    for (body, expected, field) in table {
        let (status, answer) = gate.post(&format!("{session}/inputs"), body.clone()).await;
        let shown: String = body.to_string().chars().take(80).collect();
        assert_eq!(status.as_u16(), expected, "{shown} {answer}");
        if let Some(field) = field {
            assert_eq!(answer["error"]["details"]["field"], field, "{shown} {answer}");
        }
    }
    let (_, view) = gate.get(&session).await;
    assert_eq!(view["head"]["seq"], 1, "nothing was written");
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_try_again() {
    let gate = Gate::new();
    let session = gate.session().await;
    let inputs = format!("{session}/inputs");
    gate.post(&inputs, json!({ "text": "hold" })).await;
    for _ in 0..moongate_core::limits::QUEUE_INPUTS {
        assert_eq!(gate.post(&inputs, json!({ "text": "more" })).await.0, 202);
    }
    let request = gate.request("POST", &inputs).header("content-type", "application/json");
    let response = gate.send(request.body(Body::from(r#"{"text":"too many"}"#)).unwrap()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"5".parse().unwrap())
    );
    let (_, body) = read(response).await;
    assert_eq!((&body["error"]["code"], &body["error"]["retry_after_s"]), (&json!("queue_full"), &json!(5)));
}
