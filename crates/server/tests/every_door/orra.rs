//! The orra door: a socket that asked for the added frames.

use serde_json::{Value, json};

use crate::{
    kit::{Kit, Socket},
    scenario::{Client as Plays, Watches},
    shown::{self, Ending, Outcome, Shown},
};

/// A client in one namespace.
pub(crate) struct Client {
    socket: Socket,
    namespace: String,
    shown: Shown,
    /// The ids of the calls of `shown.tools`.
    calls: Vec<Value>,
    asked: Option<Value>,
}

impl Client {
    pub(crate) async fn new(kit: &Kit, namespace: &str) -> Self {
        let socket = kit.line.socket("/orra/ws?ext=tools,reasoning,status").await;
        let namespace = namespace.to_owned();
        Self { socket, namespace, shown: Shown::default(), calls: Vec::new(), asked: None }
    }

    /// Shows what runs, whoever set it off.
    pub(crate) async fn subscribe(&mut self) {
        self.socket.say(json!({"type": "subscribe", "namespace": self.namespace})).await;
    }

    /// The call of this id, new or known.
    fn call(&mut self, id: &Value, frame: &Value) -> usize {
        self.shown.paragraph = true;
        self.calls.iter().position(|known| known == id).unwrap_or_else(|| {
            self.calls.push(id.clone());
            self.shown.call(&frame["tool_name"], &frame["arguments"]);
            self.calls.len() - 1
        })
    }

    fn end(&mut self, ending: Ending, usage: &Value) -> bool {
        self.shown.usage = shown::usage(&usage["input_tokens"], &usage["output_tokens"]);
        self.shown.ending = ending;
        true
    }
}

impl Watches for Client {
    fn so_far(&self) -> &Shown {
        &self.shown
    }

    async fn step(&mut self) -> bool {
        let frame = self.socket.next().await;
        let text = |field: &str| frame[field].as_str().unwrap_or_else(|| panic!("{frame}"));
        match text("type") {
            "text_delta" => self.shown.say(text("content")),
            "reasoning_delta" => self.shown.reasoning.push_str(text("content")),
            "tool_approval_request" => {
                self.call(&frame["tool_call_id"], &frame);
                self.asked = Some(frame["call_id"].clone());
            }
            "tool_started" => {
                self.call(&frame["call_id"], &frame);
            }
            "tool_finished" => {
                let at = self.call(&frame["call_id"], &frame);
                let outcome = Outcome::of(frame["is_error"] == true, &frame["content"]);
                self.shown.tools[at].outcome = Some(outcome);
            }
            "response" => {
                let last = text("message");
                assert!(self.shown.text.ends_with(last), "{last:?} ends {:?}", self.shown.text);
                return self.end(Ending::Completed, &frame["usage"]);
            }
            "error" => {
                let code = text("code");
                let ending = match code {
                    "cancelled" => Ending::Cancelled,
                    _ => Ending::failed(code.starts_with("provider_"), &frame["code"]),
                };
                return self.end(ending, &frame["usage"]);
            }
            _ => {}
        }
        false
    }
}

impl Plays for Client {
    async fn say(&mut self, text: &str) {
        self.socket.say(json!({"type": "chat", "message": text, "namespace": self.namespace})).await;
    }

    async fn asked(&mut self) {
        while self.asked.is_none() {
            assert!(!self.step().await, "it ended without asking");
        }
    }

    async fn decide(&mut self, approve: bool) {
        let call = self.asked.take();
        self.socket
            .say(json!({"type": "tool_approval_response", "call_id": call, "approved": approve}))
            .await;
    }

    async fn cancel(&mut self) {
        self.socket.say(json!({"type": "cancel", "namespace": self.namespace})).await;
    }

    async fn shown(&mut self) -> Shown {
        while !self.step().await {}
        self.calls.clear();
        let shown = std::mem::take(&mut self.shown);
        Shown { paragraph: false, ..shown }
    }
}
