//! `/responses` as a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _, http::Response},
};

use super::{Key, Live, SOON};

pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The response that was told of last.
    pub(crate) id: Option<String>,
}

impl Socket {
    pub(crate) async fn open(live: &Live) -> Self {
        Self::with(live, &format!("Bearer {}", live.serving.key), &[]).await.unwrap()
    }

    /// Opens a socket with another key than the administrator's.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(crate) async fn open_as(live: &Live, key: &Key) -> Result<Self, Response<Option<Vec<u8>>>> {
        Self::with(live, &key.bearer(), &[]).await
    }

    pub(crate) async fn with(
        live: &Live,
        bearer: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Response<Option<Vec<u8>>>> {
        let url = format!("ws://{}/openai/v1/responses", live.serving.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in [&[("authorization", bearer)], headers].concat() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, reply)) => {
                assert!(reply.headers().contains_key("x-request-id"));
                Ok(Self { stream, id: None })
            }
            Err(Error::Http(reply)) => Err(*reply),
            Err(error) => panic!("{error}"),
        }
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.message(Message::text(text.into())).await;
    }

    pub(crate) async fn message(&mut self, message: Message) {
        self.try_send(message).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await
    }

    pub(crate) async fn create(&mut self, more: Value) {
        let mut body = json!({"type": "response.create", "model": "moongate/main", "input": "hi"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(body.to_string()).await;
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(SOON, self.stream.next()).await.expect("a frame");
            if let Message::Text(text) = message.unwrap().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                let id = frame["response"]["id"].as_str().map(str::to_owned);
                self.id = id.or_else(|| self.id.take());
                return frame;
            }
        }
    }

    /// The code the server closes with.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            let message = tokio::time::timeout(SOON, self.stream.next()).await.expect("a close");
            if let Message::Close(frame) = message?.ok()? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }

    /// The frames up to the end of a response, or an error.
    pub(crate) async fn response(&mut self) -> Vec<Value> {
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
