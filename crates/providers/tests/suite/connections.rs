//! What becomes of connections: kept, found stale, given up.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use crate::support::{
    Act, Server, call, model, request,
    wires::{answer, begin, chunk, last_chunk, stream, stream_head, text, whole},
};
use moongate_core::Piece;
use moongate_providers::{RetryPolicy, Wire};
use tokio::time::sleep;

#[tokio::test]
async fn a_connection_serves_one_call_after_the_other() {
    for wire in Wire::ALL {
        let server = Server::start(vec![stream(answer(wire, "hi"))]).await;
        let model = model(server.config(wire));
        for _ in 0..5 {
            assert_eq!(call(&model).await.text, "hi");
        }
        assert_eq!((server.requests.load(SeqCst), server.connections.load(SeqCst)), (5, 1), "{wire:?}");
    }
}

/// The answer's meaning is complete before its last bytes are here: nobody waits for them, and the connection
/// is used again all the same once they have come.
#[tokio::test]
async fn the_end_of_a_body_may_come_late() {
    let wire = Wire::Anthropic;
    let late = vec![
        stream_head(),
        chunk(answer(wire, "hi")),
        Act::Trickle(b"0\r\n\r\n".to_vec(), Duration::from_millis(1)),
    ];
    let server = Server::start(vec![late]).await;
    let model = model(server.config(wire));
    for _ in 0..3 {
        assert_eq!(call(&model).await.text, "hi");
        sleep(Duration::from_millis(60)).await;
    }
    assert_eq!((server.requests.load(SeqCst), server.connections.load(SeqCst)), (3, 1));
}

#[tokio::test]
async fn an_unfinished_body_is_not_mistaken_for_the_next_answer() {
    let wire = Wire::Anthropic;
    let never = vec![stream_head(), chunk(answer(wire, "hi")), Act::Stall];
    let server = Server::start(vec![never, stream(answer(wire, "there"))]).await;
    let model = model(server.config(wire));
    assert_eq!(call(&model).await.text, "hi");
    assert_eq!(call(&model).await.text, "there");
    assert_eq!(server.connections.load(SeqCst), 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let wire = Wire::OpenAiChat;
    let mut closing = stream(answer(wire, "hi"));
    closing.push(Act::Close);
    let server = Server::start(vec![closing, stream(answer(wire, "there"))]).await;
    let mut config = server.config(wire);
    config.retry = RetryPolicy::NEVER;
    let model = model(config);
    assert_eq!(call(&model).await.text, "hi");
    sleep(Duration::from_millis(20)).await;
    assert_eq!(call(&model).await.text, "there");
}

/// The provider closes an old connection at the very moment a request arrives on it: one more attempt on a new
/// one, which costs no retry.
#[tokio::test]
async fn a_stale_connection_costs_one_more_attempt_and_no_retry() {
    for act in [Act::Close, Act::Reset] {
        let wire = Wire::OpenAiResponses;
        let server =
            Server::start(vec![stream(answer(wire, "hi")), vec![act], stream(answer(wire, "there"))]).await;
        let mut config = server.config(wire);
        config.retry = RetryPolicy::NEVER;
        let model = model(config);
        assert_eq!(call(&model).await.text, "hi");
        let outcome = call(&model).await;
        assert_eq!((outcome.text.as_str(), outcome.fault), ("there", None));
        assert!(!outcome.pieces.iter().any(|piece| matches!(piece, Piece::Waiting(_))));
        assert_eq!((server.requests.load(SeqCst), server.connections.load(SeqCst)), (3, 2));
    }
}

#[tokio::test]
async fn dropping_a_call_ends_it_at_the_provider() {
    for wire in Wire::ALL {
        let server =
            Server::start(vec![vec![stream_head(), chunk(begin(wire) + &text(wire, "a")), Act::Stall]]).await;
        let model = model(server.config(wire));
        let mut stream = model.call(request().into());
        let mut pieces = Vec::new();
        while !pieces.contains(&Piece::Text("a".into())) {
            stream.next(&mut pieces).await;
        }
        drop(stream);
        while server.departures.load(SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A dropped `next` loses nothing: what it had read comes with the following one.
#[tokio::test]
async fn next_may_be_dropped_at_any_time() {
    let wire = Wire::OpenAiChat;
    let bytes = answer(wire, "one two three");
    let mut acts = vec![stream_head()];
    for part in bytes.as_bytes().chunks(7) {
        let Act::Send(part) = chunk(part) else { unreachable!() };
        acts.push(Act::Trickle(part, Duration::from_micros(100)));
    }
    acts.push(last_chunk());
    let server = Server::start(vec![acts]).await;
    let mut stream = model(server.config(wire)).call(request().into());
    let mut pieces = Vec::new();
    while !matches!(pieces.last(), Some(Piece::Finish(_) | Piece::Fault(_))) {
        tokio::select! {
            biased;
            () = stream.next(&mut pieces) => {}
            () = sleep(Duration::from_micros(50)) => {}
        }
    }
    let said: String = pieces
        .iter()
        .filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(said, "one two three");
    assert!(matches!(pieces.last(), Some(Piece::Finish(_))));
}

#[tokio::test]
async fn a_refused_call_keeps_its_connection() {
    let wire = Wire::Anthropic;
    let refused = whole(400, "content-type: application/json\r\n", "{\"error\":{}}");
    let server = Server::start(vec![refused, stream(answer(wire, "hi"))]).await;
    let model = model(server.config(wire));
    assert!(call(&model).await.fault.is_some());
    assert_eq!(call(&model).await.text, "hi");
    assert_eq!(server.connections.load(SeqCst), 1);
}

/// A chat answer is complete with its reason; a provider that then just keeps the stream open is not waited for.
#[tokio::test]
async fn a_complete_answer_without_an_end_is_not_waited_for_long() {
    let wire = Wire::OpenAiChat;
    let body = answer(wire, "hi").replace("data: [DONE]\n\n", "");
    let server = Server::start(vec![vec![stream_head(), chunk(body), Act::Stall]]).await;
    let outcome = call(&model(server.config(wire))).await;
    assert_eq!((outcome.text.as_str(), outcome.fault), ("hi", None));
    assert!(outcome.usage.is_some());
}

#[tokio::test]
async fn the_request_is_what_a_provider_expects() {
    for wire in Wire::ALL {
        let server = Server::start(vec![stream(answer(wire, "hi"))]).await;
        call(&model(server.config(wire))).await;
        let bodies = server.bodies.lock().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
        assert_eq!((body["model"].as_str(), body["stream"].as_bool()), (Some("m"), Some(true)));
    }
}
