//! `/responses` as a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::{Live, SOON};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(live: &Live) -> Self {
        let url = format!("ws://{}/openai/v1/responses", live.serving.address);
        let mut request = url.into_client_request().unwrap();
        let key = format!("Bearer {}", live.serving.key).parse().unwrap();
        request.headers_mut().insert("authorization", key);
        let (stream, reply) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert!(reply.headers().contains_key("x-request-id"));
        Self(stream)
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    async fn create(&mut self, more: Value) {
        let mut body = json!({"type": "response.create", "model": "moongate/main", "input": "hi"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(body.to_string()).await;
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await.expect("a frame").unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The frames up to the end of a response, or an error.
    async fn response(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.next().await);
            let kind = frames[frames.len() - 1]["type"].as_str().unwrap();
            if ["response.completed", "response.failed", "response.incomplete", "error"].contains(&kind) {
                return frames;
            }
        }
    }
}

#[tokio::test]
async fn one_socket_carries_one_response_after_the_other_and_goes_on_from_what_is_not_stored() {
    let live = Live::new().await;
    live.push(["1", "2", "3"].map(Script::says));
    let mut socket = Socket::open(&live).await;
    socket.create(json!({"store": false})).await;
    let first = socket.response().await;
    let numbers: Vec<_> = first.iter().map(|frame| frame["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let first = first.last().unwrap()["response"]["id"].clone();
    // Two requests at once are two responses, in their order.
    socket.create(json!({"store": false, "previous_response_id": first, "input": "and"})).await;
    socket.create(json!({"input": "other"})).await;
    let second = socket.response().await.pop().unwrap();
    assert_eq!(second["response"]["output"][0]["content"][0]["text"], "2");
    assert_eq!(live.kit.model().prompts()[1].len(), 3);
    let third = socket.response().await.pop().unwrap();
    assert_eq!(third["response"]["output"][0]["content"][0]["text"], "3");
    // It is not the socket's last any more.
    socket.create(json!({"previous_response_id": first})).await;
    let lost = socket.response().await.pop().unwrap();
    assert_eq!(
        (&lost["status"], &lost["error"]["code"]),
        (&json!(400), &json!("previous_response_not_found"))
    );
}

#[tokio::test]
async fn frames_that_are_none_are_refused_and_the_socket_stays() {
    let live = Live::new().await;
    let mut socket = Socket::open(&live).await;
    for bad in
        ["", "x", "[]", "{}", r#"{"type":"response.steer"}"#, r#"{"type":"response.create","input":3}"#]
    {
        socket.send(bad).await;
        let refused = socket.next().await;
        assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(400)), "{bad}");
    }
    socket.create(json!({"background": true})).await;
    assert_eq!(socket.next().await["error"]["param"], "background");
    socket.create(json!({"model": "nobody"})).await;
    assert_eq!(socket.next().await["error"]["code"], "model_not_found");
    socket.create(json!({})).await;
    assert_eq!(socket.response().await.pop().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn a_socket_that_goes_away_stops_what_is_not_stored_and_nothing_else() {
    let live = Live::new().await;
    for (store, left) in [(false, 0), (true, 1)] {
        let gate = Gate::new();
        live.push([Script::new().text("a").gate(&gate).text("b").end()]);
        let mut socket = Socket::open(&live).await;
        socket.create(json!({"store": store})).await;
        gate.reached().await;
        drop(socket);
        let settled = async {
            while live.kit.gateway().running_turns() != left {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, settled).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(live.kit.gateway().running_turns(), left);
        gate.open();
    }
}
