//! Following: cut at every event and resumed, paged, waited for, reset, and told that the server goes away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use axum::body::Body;
use common::{Gate, Sent, Stream, read};
use serde_json::json;

/// A session with some turns in it, and all its events.
async fn lived_in(gate: &Gate) -> (String, Vec<Sent>) {
    let session = gate.session().await;
    for text in ["one", "two words"] {
        gate.turn(&session, text).await;
    }
    let (_, view) = gate.get(&session).await;
    let head = view["head"]["seq"].as_u64().unwrap();
    let mut stream = gate.stream(&format!("{session}/events?deltas=false")).await;
    let mut all = Vec::new();
    for _ in 0..head {
        all.push(stream.next().await.unwrap());
    }
    (session, all)
}

#[tokio::test]
async fn a_stream_cut_at_any_event_goes_on_with_the_next() {
    let gate = Gate::new();
    let (session, all) = lived_in(&gate).await;
    for (at, cut) in all.iter().enumerate() {
        let id = cut.id.clone().unwrap();
        assert_eq!(id, format!("{}.{}", cut.data["epoch"].as_str().unwrap(), cut.data["seq"]));
        assert_eq!(cut.data["type"], cut.event.as_str());
        let by_query = gate.stream(&format!("{session}/events?after={id}&deltas=false")).await;
        let request = gate.request("GET", &format!("{session}/events?after=0.0"));
        let request = request.header("accept", "text/event-stream").header("last-event-id", &id);
        let by_header = Stream::new(gate.send(request.body(Body::empty()).unwrap()).await);
        for mut stream in [by_query, by_header] {
            for expected in &all[at + 1..] {
                assert_eq!(stream.next().await.as_ref(), Some(expected), "after {id}");
            }
        }
    }
}

#[tokio::test]
async fn what_happens_later_follows_what_happened_before() {
    let gate = Gate::new();
    let (session, all) = lived_in(&gate).await;
    let mut stream = gate.stream(&format!("{session}/events")).await;
    for expected in &all {
        assert_eq!(stream.next().await.as_ref(), Some(expected));
    }
    gate.post(&format!("{session}/inputs"), json!({ "text": "live" })).await;
    let live = stream.until("turn.completed").await;
    let seqs: Vec<_> = live.iter().filter_map(|sent| sent.data["seq"].as_u64()).collect();
    let first = all.len() as u64 + 1;
    assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>());
    assert!(live.iter().any(|sent| sent.event == "delta" && sent.id.is_none()));
    assert!(live.iter().any(|sent| sent.event == "notice"));
}

#[tokio::test]
async fn an_unfinished_message_is_told_from_its_start() {
    let gate = Gate::new();
    let session = gate.session().await;
    gate.post(&format!("{session}/inputs"), json!({ "text": "hold fast" })).await;
    let mut early = gate.stream(&format!("{session}/events")).await;
    early.until("turn.started").await;
    gate.permits.add_permits(1);
    let told = early.until("message.completed").await;
    let mut text = String::new();
    for delta in told.iter().filter(|sent| sent.event == "delta") {
        let offset = usize::try_from(delta.data["offset"].as_u64().unwrap()).unwrap();
        text = text.chars().take(offset).collect::<String>() + delta.data["text"].as_str().unwrap();
    }
    assert_eq!(text, "echo: hold fast");
}

#[tokio::test]
async fn a_position_that_cannot_be_served_is_a_reset_or_a_refusal() {
    let gate = Gate::new();
    let (session, all) = lived_in(&gate).await;
    let epoch = all[0].data["epoch"].as_str().unwrap();
    let beyond = format!("{epoch}.{}", all.len() + 1);
    for position in [beyond.as_str(), "1.0", "ffffffff.3"] {
        let mut stream = gate.stream(&format!("{session}/events?deltas=false&after={position}")).await;
        let reset = stream.next().await.unwrap();
        assert_eq!((reset.event.as_str(), &reset.data), ("reset", &json!({ "epoch": epoch, "seq": 0 })));
        assert_eq!(stream.next().await.as_ref(), Some(&all[0]));
        let (status, body) = gate.get(&format!("{session}/events?after={position}")).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_position")));
        assert_eq!(body["error"]["details"]["position"], json!({ "epoch": epoch, "seq": 0 }));
    }
    for bad in ["x", "1", "1.", ".1", "1.01", "G.1", "1.-1", "1.99999999999999999999", "01.1"] {
        let (status, body) = gate.get(&format!("{session}/events?after={bad}")).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")), "{bad}");
    }
}

#[tokio::test]
async fn pages_hold_every_event_once() {
    let gate = Gate::new();
    let (session, all) = lived_in(&gate).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = gate.get(&format!("{session}/events?limit=3{after}")).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["items"].as_array().unwrap().iter().cloned());
        let position = &page["position"];
        after = format!("&after={}.{}", position["epoch"].as_str().unwrap(), position["seq"]);
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, all.iter().map(|sent| sent.data.clone()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_waits_for_an_event_or_for_its_time() {
    let gate = Gate::new();
    let (session, all) = lived_in(&gate).await;
    let head = all.last().unwrap().id.clone().unwrap();
    let (status, empty) = gate.get(&format!("{session}/events?after={head}&wait=5")).await;
    assert_eq!((status.as_u16(), &empty["items"]), (200, &json!([])));
    let poll = {
        let (gate, path) = (gate.clone(), format!("{session}/events?after={head}&wait=9"));
        tokio::spawn(async move { gate.get(&path).await })
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    gate.post(&format!("{session}/inputs"), json!({ "text": "news" })).await;
    let (_, page) = poll.await.unwrap();
    assert_eq!(page["items"][0]["type"], "input.accepted");
    assert_eq!(gate.get(&format!("{session}/events?wait=61")).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_lives() {
    use http_body_util::BodyExt as _;
    let gate = Gate::new();
    let session = gate.session().await;
    let request = gate.request("GET", &format!("{session}/events")).header("accept", "text/event-stream");
    let mut body = gate.send(request.body(Body::empty()).unwrap()).await.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(next().await.starts_with(b"id: "));
    let before = tokio::time::Instant::now();
    assert_eq!(next().await, ":\n\n");
    assert_eq!(before.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn all_sessions_are_followed_as_far_as_the_caller_sees_them() {
    let gate = Gate::new();
    let (_, key) =
        gate.key(json!({ "scopes": ["sessions:read", "sessions:write"], "principal": "bob" })).await;
    let bob = gate.as_key(&key);
    let mut everything = gate.stream("/api/v1/events").await;
    let mut of_bob = bob.stream("/api/v1/events?types=session.created,turn.completed").await;
    let theirs = gate.session().await;
    gate.turn(&theirs, "not for bob").await;
    let his = bob.session().await;
    bob.turn(&his, "for bob").await;
    let ends = |path: &str, id: &serde_json::Value| path.ends_with(id.as_str().unwrap());
    let events = of_bob.until("turn.completed").await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|sent| ends(&his, &sent.data["session"])));
    let first = everything.until("turn.completed").await;
    assert!(first.iter().all(|sent| ends(&theirs, &sent.data["session"])));
    everything.until("turn.completed").await;
    for accept in [None, Some("*/*")] {
        let request = gate.request("GET", "/api/v1/events");
        let request = match accept {
            Some(accept) => request.header("accept", accept),
            None => request,
        };
        let response = gate.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{accept:?}");
    }
    let request = gate.request("GET", "/api/v1/events").header("accept", "application/json");
    let (status, body) = read(gate.send(request.body(Body::empty()).unwrap()).await).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn a_draining_server_tells_its_streams_and_takes_no_work() {
    let gate = Gate::new();
    let session = gate.session().await;
    let mut stream = gate.stream(&format!("{session}/events")).await;
    stream.next().await.unwrap();
    gate.gateway.drain(Duration::ZERO).await;
    let notice = stream.until("notice").await.pop().unwrap();
    assert_eq!(notice.data, json!({ "notice": "draining" }));
    let (status, body) = gate.post(&format!("{session}/inputs"), json!({ "text": "late" })).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (503, &json!("unavailable")));
    let (status, body) = gate.get("/readyz").await;
    assert_eq!((status.as_u16(), &body["reasons"]), (503, &json!(["draining"])));
    let error = &body["error"];
    assert_eq!((&error["code"], &error["retry_after_s"]), (&json!("unavailable"), &json!(5)));
}
