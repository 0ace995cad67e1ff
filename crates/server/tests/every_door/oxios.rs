//! The Oxios door: the web UI's stream.

use serde_json::{Value, json};

use crate::{
    kit::{Kit, Line, Socket},
    scenario::Client as Plays,
    shown::{self, Ending, Outcome, Shown},
};

/// A web UI, in one session.
pub(crate) struct Client {
    line: Line,
    socket: Socket,
    session: String,
    shown: Shown,
    /// The ids of the calls of `shown.tools`.
    calls: Vec<Value>,
    asked: Option<String>,
}

impl Client {
    pub(crate) async fn new(kit: &Kit, session: &str) -> Self {
        let socket = kit.line.socket("/oxios/api/chat/stream").await;
        let (line, session) = (kit.line.clone(), session.to_owned());
        Self { line, socket, session, shown: Shown::default(), calls: Vec::new(), asked: None }
    }

    /// Shows the turn that runs, whoever set it off.
    pub(crate) async fn resume(&mut self) {
        self.socket.say(json!({"type": "resume", "last_seq": 0, "session_id": self.session})).await;
    }

    /// Takes the next frame in; says whether the turn is over.
    async fn step(&mut self) -> bool {
        let frame = self.socket.next().await;
        let text = |field: &str| frame[field].as_str().unwrap_or_else(|| panic!("{frame}"));
        match text("type") {
            "token" => self.shown.say(text("content")),
            "reasoning" if frame["subtype"].is_null() => self.shown.reasoning.push_str(text("content")),
            "tool_start" => {
                self.calls.push(frame["tool_call_id"].clone());
                self.shown.call(&frame["tool_name"], &frame["tool_args"]);
            }
            "tool_end" => {
                let at = self.calls.iter().position(|id| *id == frame["tool_call_id"]).expect("it began");
                let outcome = Outcome::of(frame["is_error"] == true, &frame["output_summary"]);
                self.shown.tools[at].outcome = Some(outcome);
            }
            "usage" => {
                self.shown.usage = shown::usage(&frame["input_tokens"], &frame["output_tokens"]);
            }
            "tool_approval" => self.asked = Some(text("id").to_owned()),
            "error" => {
                let kind = &frame["kind"];
                self.shown.ending = match kind == "cancelled" {
                    true => Ending::Cancelled,
                    false => Ending::failed(kind == "provider_error", kind),
                };
                return true;
            }
            "done" => {
                self.shown.ending = Ending::Completed;
                return true;
            }
            _ => {}
        }
        false
    }
}

impl Plays for Client {
    async fn say(&mut self, text: &str) {
        // The later UI: its errors end a turn, and it is not told them as text.
        self.socket.say(json!({"content": text, "session_id": self.session, "role": ""})).await;
    }

    async fn asked(&mut self) {
        while self.asked.is_none() {
            assert!(!self.step().await, "it ended without asking");
        }
    }

    async fn decide(&mut self, approve: bool) {
        let path = format!("/oxios/api/chat/tool-approval/{}/respond", self.asked.take().unwrap());
        self.line.ask("POST", &path, &json!({"approved": approve})).await;
    }

    async fn cancel(&mut self) {
        self.socket.say(json!({"type": "cancel", "session_id": self.session})).await;
    }

    async fn shown(&mut self) -> Shown {
        while !self.step().await {}
        self.calls.clear();
        std::mem::take(&mut self.shown)
    }
}
