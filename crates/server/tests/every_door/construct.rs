//! The Construct door: its chat socket, by a client that knows approvals.

use serde_json::{Value, json};

use crate::{
    kit::{Kit, Socket},
    scenario::{Client as Plays, Watches},
    shown::{self, Ending, Outcome, Shown},
};

/// A client in one session.
pub(crate) struct Client {
    socket: Socket,
    shown: Shown,
    /// The ids of the calls of `shown.tools`.
    calls: Vec<Value>,
    asked: Option<Value>,
}

impl Client {
    pub(crate) async fn new(kit: &Kit, session: &str) -> Self {
        let mut socket = kit.line.socket(&format!("/construct/ws/chat?session_id={session}")).await;
        socket.say(json!({"type": "connect", "capabilities": ["approvals"]})).await;
        Self { socket, shown: Shown::default(), calls: Vec::new(), asked: None }
    }

    fn call(&mut self, call: &Value) {
        self.calls.push(call["id"].clone());
        self.shown.call(&call["name"], &call["args"]);
        self.shown.paragraph = true;
    }

    fn result(&mut self, result: &Value) {
        let at = self.calls.iter().position(|id| *id == result["id"]).expect("it began");
        let output = result["output"].as_str().unwrap();
        self.shown.tools[at].outcome = Some(match result["is_error"] == true {
            // What failed says so in its first word here.
            true => Outcome::Failed(output.strip_prefix("Error: ").expect("an error").to_owned()),
            false => Outcome::Ok(output.to_owned()),
        });
        self.shown.paragraph = true;
    }

    fn snapshot(&mut self, snapshot: &Value) {
        for tool in snapshot["tools"].as_array().unwrap() {
            self.call(tool);
            if !tool["output"].is_null() {
                self.result(tool);
            }
        }
        // What was said came in one piece, and that piece may go on.
        self.shown.paragraph = false;
    }

    fn done(&mut self, whole: &str, aborted: bool) {
        let said = &self.shown.text;
        self.shown.ending = if aborted { Ending::Cancelled } else { Ending::Completed };
        if aborted && said.is_empty() {
            assert_eq!(whole, "[stopped]");
        } else if aborted {
            assert_eq!(whole.replace("\n\n", ""), said.replace("\n\n", ""));
        } else {
            assert!(said.ends_with(whole), "{whole:?} ends {said:?}");
        }
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
            // Whoever comes in the middle is shown all of it anew, and then once more in one piece.
            "chunk_reset" if frame["replay"] == true => {
                self.shown.text.clear();
                self.shown.reasoning.clear();
            }
            "turn_snapshot" => self.snapshot(&frame),
            "chunk" => self.shown.say(text("content")),
            "thinking" => self.shown.reasoning.push_str(text("content")),
            "tool_call" => self.call(&frame),
            "tool_result" => self.result(&frame),
            "approval_request" => self.asked = Some(frame["request_id"].clone()),
            "done" => {
                self.done(text("full_response"), frame["aborted"] == true);
                self.shown.usage = match frame["tokens_used"].is_null() {
                    true => None,
                    false => shown::usage(&frame["input_tokens"], &frame["output_tokens"]),
                };
                return true;
            }
            "error" => {
                self.shown.ending = Ending::failed(frame["code"] == "PROVIDER_ERROR", &frame["code"]);
                return true;
            }
            _ => {}
        }
        false
    }
}

impl Plays for Client {
    async fn say(&mut self, text: &str) {
        self.socket.say(json!({"type": "message", "content": text})).await;
    }

    async fn asked(&mut self) {
        while self.asked.is_none() {
            assert!(!self.step().await, "it ended without asking");
        }
    }

    async fn decide(&mut self, approve: bool) {
        let (id, decision) = (self.asked.take(), if approve { "approve" } else { "deny" });
        self.socket.say(json!({"type": "approval_response", "request_id": id, "decision": decision})).await;
    }

    async fn cancel(&mut self) {
        self.socket.say(json!({"type": "cancel"})).await;
    }

    async fn shown(&mut self) -> Shown {
        while !self.step().await {}
        self.calls.clear();
        let shown = std::mem::take(&mut self.shown);
        Shown { paragraph: false, ..shown }
    }
}
