//! The OpenAI door's completions, in a session that is kept.

use std::collections::VecDeque;

use serde_json::json;

use crate::{
    kit::{Kit, Line, Reply},
    native,
    scenario::Client as Plays,
    shown::{self, Ending, Shown},
};

/// A client that asks for one completion after another.
pub(crate) struct Client {
    line: Line,
    session: String,
    turns: VecDeque<Reply>,
    /// The approval that is open: decided elsewhere, for the protocol has no place for it.
    asked: Option<String>,
}

impl Client {
    pub(crate) fn new(kit: &Kit, session: &str) -> Self {
        let (line, session) = (kit.line.clone(), session.to_owned());
        Self { line, session, turns: VecDeque::new(), asked: None }
    }

    /// The session's own id.
    fn id(&self) -> String {
        self.turns[0].header("x-moongate-session").to_owned()
    }
}

impl Plays for Client {
    async fn say(&mut self, text: &str) {
        let body = json!({
            "model": "moongate/main", "messages": [{"role": "user", "content": text}],
            "stream": true, "stream_options": {"include_usage": true},
        });
        let headers = format!("x-moongate-session: {}\r\n", self.session);
        self.turns.push_back(self.line.stream("POST", "/openai/v1/chat/completions", &headers, &body).await);
    }

    async fn asked(&mut self) {
        self.asked = Some(native::asked(&self.line, &self.id()).await);
    }

    async fn decide(&mut self, approve: bool) {
        native::decide(&self.line, &self.asked.take().unwrap(), approve).await;
    }

    async fn cancel(&mut self) {
        native::cancel(&self.line, &self.id()).await;
    }

    async fn shown(&mut self) -> Shown {
        let (mut stream, mut shown) = (self.turns.pop_front().unwrap(), Shown::default());
        while let Some(event) = stream.next().await {
            if event.data == "[DONE]" {
                assert_eq!(shown.ending, Ending::Completed);
                continue;
            }
            let chunk = event.json();
            if let Some(code) = chunk["error"]["code"].as_str() {
                shown.ending = Ending::failed(code.starts_with("provider_"), &chunk["error"]["code"]);
            }
            let choice = &chunk["choices"][0];
            if let Some(text) = choice["delta"]["content"].as_str() {
                shown.say(text);
            }
            if let Some(text) = choice["delta"]["reasoning_content"].as_str() {
                shown.reasoning.push_str(text);
            }
            if choice["finish_reason"] == "stop" {
                shown.ending = Ending::Completed;
            }
            if chunk["usage"].is_object() {
                let usage = &chunk["usage"];
                shown.usage = shown::usage(&usage["prompt_tokens"], &usage["completion_tokens"]);
            }
        }
        shown
    }
}
