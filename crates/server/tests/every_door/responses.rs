//! The OpenAI door's responses, in a conversation: as server-sent events, and on a WebSocket.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{
    kit::{Kit, Line, Reply, Socket},
    native,
    scenario::Client as Plays,
    shown::{self, Ending, Shown},
};

/// A client that asks for one response after another in a conversation.
pub(crate) struct Client {
    line: Line,
    conversation: String,
    way: Way,
    /// The approval that is open: decided elsewhere, for the protocol has no place for it.
    asked: Option<String>,
}

/// How responses are told.
enum Way {
    Streams(VecDeque<Reply>),
    Socket(Box<Socket>),
}

impl Way {
    /// The next event; none when a stream is over.
    async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Streams(streams) => streams[0].next().await.map(|event| event.json()),
            Self::Socket(socket) => Some(socket.next().await),
        }
    }
}

impl Client {
    pub(crate) async fn new(kit: &Kit) -> Self {
        let made = kit.line.ask("POST", "/openai/v1/conversations", &json!({})).await;
        Self::within(&kit.line, made["id"].as_str().unwrap())
    }

    /// A client on a WebSocket.
    pub(crate) async fn on_a_socket(kit: &Kit) -> Self {
        let socket = kit.line.socket("/openai/v1/responses").await;
        Self { way: Way::Socket(socket.into()), ..Self::new(kit).await }
    }

    /// A client in the conversation a session is.
    pub(crate) fn within(line: &Line, session: &str) -> Self {
        let (line, conversation) = (line.clone(), session.replacen("ses_", "conv_", 1));
        Self { line, conversation, way: Way::Streams(VecDeque::new()), asked: None }
    }
}

impl Plays for Client {
    async fn say(&mut self, text: &str) {
        let mut body = json!({"model": "moongate/main", "conversation": self.conversation, "input": text});
        match &mut self.way {
            Way::Streams(streams) => {
                body["stream"] = json!(true);
                streams.push_back(self.line.stream("POST", "/openai/v1/responses", "", &body).await);
            }
            Way::Socket(socket) => {
                body["type"] = json!("response.create");
                socket.say(body).await;
            }
        }
    }

    async fn asked(&mut self) {
        let session = self.conversation.replacen("conv_", "ses_", 1);
        self.asked = Some(native::asked(&self.line, &session).await);
    }

    async fn decide(&mut self, approve: bool) {
        native::decide(&self.line, &self.asked.take().unwrap(), approve).await;
    }

    async fn cancel(&mut self) {
        let created = self.way.next().await.unwrap();
        assert_eq!(created["type"], "response.created");
        let path = format!("/openai/v1/responses/{}/cancel", created["response"]["id"].as_str().unwrap());
        self.line.ask("POST", &path, &Value::Null).await;
    }

    async fn shown(&mut self) -> Shown {
        let mut shown = Shown::default();
        let response = loop {
            let event = self.way.next().await.expect("the response's end comes first");
            match event["type"].as_str().unwrap() {
                "response.output_item.added" => shown.paragraph = true,
                "response.output_text.delta" => shown.say(event["delta"].as_str().unwrap()),
                "response.reasoning_summary_text.delta" => {
                    shown.reasoning.push_str(event["delta"].as_str().unwrap());
                }
                "response.completed" | "response.failed" | "response.incomplete" => {
                    break event["response"].clone();
                }
                "error" => panic!("{event}"),
                _ => {}
            }
        };
        if let Way::Streams(streams) = &mut self.way {
            let mut over = streams.pop_front().unwrap();
            assert!(over.next().await.is_none(), "nothing follows the end");
        }
        let code = &response["error"]["code"];
        shown.ending = match response["status"].as_str().unwrap() {
            "completed" => Ending::Completed,
            "cancelled" => Ending::Cancelled,
            "failed" => Ending::failed(code == "server_error" || code == "rate_limit_exceeded", code),
            other => panic!("{other}"),
        };
        let usage = &response["usage"];
        shown.usage = shown::usage(&usage["input_tokens"], &usage["output_tokens"]);
        let items = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == "message");
        let texts: Vec<_> = items.map(|item| item["content"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(texts.join("\n\n"), shown.text, "the whole is what its pieces were");
        shown.paragraph = false;
        shown
    }
}
