//! The native door: a turn as server-sent events, and a session on a WebSocket.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{
    kit::{Kit, Line, Reply, Socket as WebSocket},
    scenario::Client,
    shown::{self, Ending, Outcome, Shown},
};

/// A new session's id.
pub(crate) async fn session(line: &Line) -> String {
    let made = line.ask("POST", "/api/v1/sessions", &json!({})).await;
    made["id"].as_str().unwrap().to_owned()
}

/// Decides at the native door, for clients whose own door has no way to.
pub(crate) async fn decide(line: &Line, approval: &str, approve: bool) {
    let decision = if approve { "approve" } else { "deny" };
    line.ask("POST", &format!("/api/v1/approvals/{approval}"), &json!({"decision": decision})).await;
}

/// Waits until a call of a session waits for a person; the approval's id.
pub(crate) async fn asked(line: &Line, session: &str) -> String {
    let path = format!("/api/v1/sessions/{session}/events?deltas=false");
    let mut events = line.stream("GET", &path, "accept: text/event-stream\r\n", &Value::Null).await;
    loop {
        let event = events.next().await.unwrap();
        if event.name == "approval.requested" {
            return event.json()["approval"].as_str().unwrap().to_owned();
        }
    }
}

/// Stops what runs.
pub(crate) async fn cancel(line: &Line, session: &str) {
    line.ask("POST", &format!("/api/v1/sessions/{session}/cancel"), &json!({})).await;
}

/// What an item's text is so far.
struct Item {
    id: Value,
    text: String,
}

/// A turn's fold.
#[derive(Default)]
pub(crate) struct Fold {
    texts: Vec<Item>,
    reasonings: Vec<Item>,
    /// The ids of the calls of `shown.tools`.
    calls: Vec<Value>,
    shown: Shown,
    /// The approval that is open.
    asked: Option<String>,
}

impl Fold {
    /// `text = text[..offset] + delta.text`, and nothing else.
    pub(crate) fn delta(&mut self, delta: &Value) {
        let items = match delta["kind"].as_str().unwrap() {
            "text" => &mut self.texts,
            "reasoning" => &mut self.reasonings,
            _ => return,
        };
        let text = item(items, &delta["item"]);
        let offset = usize::try_from(delta["offset"].as_u64().unwrap()).unwrap();
        let end = text.char_indices().nth(offset).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text.push_str(delta["text"].as_str().unwrap());
    }

    /// Takes an event; says whether the turn is over.
    pub(crate) fn event(&mut self, event: &Value) -> bool {
        match event["type"].as_str().unwrap() {
            "message.completed" if event["role"] == "assistant" => self.message(event),
            "tool.called" => {
                let at = self.place(&event["call"]);
                self.shown.tools[at].arguments = event["arguments"].clone();
            }
            "tool.finished" => {
                let at = self.place(&event["call"]);
                let output = &event["content"][0]["text"];
                self.shown.tools[at].outcome = Some(Outcome::of(event["outcome"] != "ok", output));
            }
            "approval.requested" => self.asked = Some(event["approval"].as_str().unwrap().to_owned()),
            "turn.completed" => return self.end(Ending::Completed, event),
            "turn.cancelled" => return self.end(Ending::Cancelled, event),
            "turn.failed" => {
                let code = &event["code"];
                let is_provider = code.as_str().unwrap().starts_with("provider_");
                return self.end(Ending::failed(is_provider, code), event);
            }
            _ => {}
        }
        false
    }

    fn message(&mut self, message: &Value) {
        let mut said = String::new();
        for part in message["parts"].as_array().unwrap() {
            match part["type"].as_str().unwrap() {
                "text" => said.push_str(part["text"].as_str().unwrap()),
                "reasoning" => complete(&mut self.reasonings, &part["item"], part["text"].as_str().unwrap()),
                "tool_call" => {
                    self.calls.push(part["call"].clone());
                    self.shown.call(&part["tool"], &part["arguments"]);
                }
                _ => {}
            }
        }
        complete(&mut self.texts, &message["item"], &said);
    }

    fn place(&self, call: &Value) -> usize {
        self.calls.iter().position(|known| known == call).expect("a message asked for the call")
    }

    fn end(&mut self, ending: Ending, event: &Value) -> bool {
        let usage = &event["usage"];
        self.shown.usage = shown::usage(&usage["input"], &usage["output"]);
        self.shown.ending = ending;
        true
    }

    pub(crate) fn shown(self) -> Shown {
        let whole = |items: Vec<Item>| {
            let texts: Vec<_> =
                items.into_iter().map(|item| item.text).filter(|text| !text.is_empty()).collect();
            texts.join("\n\n")
        };
        Shown { text: whole(self.texts), reasoning: whole(self.reasonings), ..self.shown }
    }
}

fn item<'a>(items: &'a mut Vec<Item>, id: &Value) -> &'a mut String {
    let at = items.iter().position(|item| item.id == *id).unwrap_or_else(|| {
        items.push(Item { id: id.clone(), text: String::new() });
        items.len() - 1
    });
    &mut items[at].text
}

/// What was shown of an item is how it begins.
fn complete(items: &mut Vec<Item>, id: &Value, text: &str) {
    let shown = item(items, id);
    assert!(text.starts_with(shown.as_str()), "{shown:?} was shown of {text:?}");
    text.clone_into(shown);
}

/// A client that follows each input's turn by server-sent events.
pub(crate) struct Streams {
    line: Line,
    session: String,
    turns: VecDeque<(Reply, Fold)>,
}

impl Streams {
    pub(crate) async fn new(kit: &Kit) -> Self {
        Self::within(&kit.line, session(&kit.line).await)
    }

    pub(crate) fn within(line: &Line, session: String) -> Self {
        Self { line: line.clone(), session, turns: VecDeque::new() }
    }

    /// Follows a session in place of one input's turn.
    pub(crate) async fn follow(&mut self) {
        let path = format!("/api/v1/sessions/{}/events", self.session);
        let events = self.line.stream("GET", &path, "accept: text/event-stream\r\n", &Value::Null).await;
        self.turns.push_back((events, Fold::default()));
    }
}

/// Takes the next event in; says whether the turn is over.
async fn step(events: &mut Reply, fold: &mut Fold) -> bool {
    let event = events.next().await.expect("the turn's end comes first");
    match event.name.as_str() {
        "delta" => fold.delta(&event.json()),
        "accepted" | "notice" => {}
        _ => return fold.event(&event.json()),
    }
    false
}

impl Client for Streams {
    async fn say(&mut self, text: &str) {
        let path = format!("/api/v1/sessions/{}/inputs", self.session);
        let headers = "accept: text/event-stream\r\n";
        let events = self.line.stream("POST", &path, headers, &json!({"text": text})).await;
        self.turns.push_back((events, Fold::default()));
    }

    async fn asked(&mut self) {
        let (events, fold) = &mut self.turns[0];
        while fold.asked.is_none() {
            assert!(!step(events, fold).await, "it ended without asking");
        }
    }

    async fn decide(&mut self, approve: bool) {
        let approval = self.turns[0].1.asked.take().unwrap();
        decide(&self.line, &approval, approve).await;
    }

    async fn cancel(&mut self) {
        cancel(&self.line, &self.session).await;
    }

    async fn shown(&mut self) -> Shown {
        let (mut events, mut fold) = self.turns.pop_front().unwrap();
        while !step(&mut events, &mut fold).await {}
        fold.shown()
    }
}

/// A client that follows its session on a WebSocket.
pub(crate) struct Socket {
    socket: WebSocket,
    session: String,
    fold: Fold,
}

impl Socket {
    pub(crate) async fn new(kit: &Kit) -> Self {
        Self::within(&kit.line, session(&kit.line).await).await
    }

    pub(crate) async fn within(line: &Line, session: String) -> Self {
        let mut socket = line.socket("/api/v1/ws").await;
        socket.say(json!({"type": "subscribe", "session": session})).await;
        Self { socket, session, fold: Fold::default() }
    }

    async fn step(&mut self) -> bool {
        let frame = self.socket.next().await;
        match frame["type"].as_str().unwrap() {
            "event" => return self.fold.event(&frame["event"]),
            "delta" => self.fold.delta(&frame["delta"]),
            "ack" | "notice" => {}
            _ => panic!("{frame}"),
        }
        false
    }
}

impl Client for Socket {
    async fn say(&mut self, text: &str) {
        self.socket.say(json!({"type": "input", "session": self.session, "text": text})).await;
    }

    async fn asked(&mut self) {
        while self.fold.asked.is_none() {
            assert!(!self.step().await, "it ended without asking");
        }
    }

    async fn decide(&mut self, approve: bool) {
        let (approval, decision) = (self.fold.asked.take(), if approve { "approve" } else { "deny" });
        self.socket.say(json!({"type": "approve", "approval": approval, "decision": decision})).await;
    }

    async fn cancel(&mut self) {
        self.socket.say(json!({"type": "cancel", "session": self.session})).await;
    }

    async fn shown(&mut self) -> Shown {
        while !self.step().await {}
        std::mem::take(&mut self.fold).shown()
    }
}
