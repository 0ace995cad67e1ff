//! Answers in one piece: one request, which waits for its turn, at every door that has such.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    kit::{Kit, Line, Reply, soon},
    native,
    scenario::{self, Client as Plays, Scenario, play},
    shown::{Ending, Outcome, Shown, usage},
};

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The native door's inputs, with `Prefer: wait`.
    Wait,
    /// The Oxios door's chat.
    Oxios,
    /// The Construct door's webhook.
    Webhook,
    /// The OpenAI door's completions.
    Completion,
    /// The OpenAI door's responses.
    Response,
    /// The orra door's chat.
    Orra,
}

/// How much of a turn's tools an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tools {
    Nothing,
    /// What was called, and whether it went well.
    Calls,
    Everything,
}

/// What an answer has a place for.
#[derive(Clone, Copy, Debug)]
struct Tells {
    tools: Tools,
    reasoning: bool,
    /// All that was said, and not the last message alone.
    all_text: bool,
    usage: bool,
    /// What a turn said and used that then failed.
    of_failed: bool,
    /// What a turn said and used that was then stopped.
    of_cancelled: bool,
    /// What a turn said that then did not end well, where it says what it used.
    broken_text: bool,
    /// That it was stopped, and not only that it has ended.
    cancelled: bool,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Wait, Self::Oxios, Self::Webhook, Self::Completion, Self::Response, Self::Orra];

    fn tells(self) -> Tells {
        let all = Tells {
            tools: Tools::Everything,
            reasoning: true,
            all_text: true,
            usage: true,
            of_failed: true,
            of_cancelled: true,
            broken_text: true,
            cancelled: true,
        };
        match self {
            Self::Wait => Tells { tools: Tools::Calls, reasoning: false, all_text: false, ..all },
            Self::Oxios => Tells { reasoning: false, usage: false, ..all },
            Self::Webhook => Tells {
                tools: Tools::Nothing,
                reasoning: false,
                all_text: false,
                of_failed: false,
                cancelled: false,
                ..all
            },
            Self::Completion => Tells { tools: Tools::Nothing, of_failed: false, cancelled: false, ..all },
            Self::Response => Tells { tools: Tools::Nothing, of_failed: false, ..all },
            Self::Orra => {
                Tells { tools: Tools::Nothing, reasoning: false, all_text: false, broken_text: false, ..all }
            }
        }
    }

    /// What is asked for: path, headers and body.
    fn request(self, session: &str, text: &str) -> (String, String, Value) {
        let plain = |path: &str, body| (path.to_owned(), String::new(), body);
        match self {
            Self::Wait => {
                let path = format!("/api/v1/sessions/{session}/inputs");
                (path, "prefer: wait=60\r\n".to_owned(), json!({"text": text}))
            }
            Self::Oxios => plain("/oxios/api/chat", json!({"content": text, "session_id": session})),
            Self::Webhook => {
                let headers = format!("x-session-id: {session}\r\n");
                ("/construct/webhook".to_owned(), headers, json!({"message": text}))
            }
            Self::Completion => {
                let headers = format!("x-moongate-session: {session}\r\n");
                let messages = json!([{"role": "user", "content": text}]);
                let body = json!({"model": "moongate/main", "messages": messages});
                ("/openai/v1/chat/completions".to_owned(), headers, body)
            }
            Self::Response => {
                let conversation = session.replacen("ses_", "conv_", 1);
                let body = json!({"model": "moongate/main", "conversation": conversation, "input": text});
                plain("/openai/v1/responses", body)
            }
            Self::Orra => plain("/orra/api/chat", json!({"message": text, "namespace": session})),
        }
    }

    /// What the answer says.
    fn read(self, status: u16, body: &Value) -> Shown {
        match self {
            Self::Wait => wait(status, body),
            Self::Oxios => oxios(status, body),
            Self::Webhook => webhook(status, body),
            Self::Completion => completion(status, body),
            Self::Response => response(status, body),
            Self::Orra => orra(status, body),
        }
    }
}

impl Tells {
    /// What a turn is in such an answer.
    fn of(self, turn: &Shown) -> Shown {
        let mut told = turn.clone();
        match self.tools {
            Tools::Nothing => told.tools.clear(),
            Tools::Calls => told.tools.iter_mut().for_each(|tool| {
                tool.outcome = tool.outcome.take().map(|outcome| match outcome {
                    Outcome::Ok(_) => Outcome::Ok(String::new()),
                    Outcome::Failed(_) => Outcome::Failed(String::new()),
                });
            }),
            Tools::Everything => {}
        }
        if !self.reasoning {
            told.reasoning.clear();
        }
        if !self.all_text {
            told.text = told.text.rsplit("\n\n").next().unwrap_or_default().to_owned();
        }
        if !self.cancelled && told.ending == Ending::Cancelled {
            told.ending = Ending::Completed;
        }
        let whole = match turn.ending {
            Ending::Failed(_) => self.of_failed,
            Ending::Cancelled => self.of_cancelled,
            _ => true,
        };
        let broken = matches!(turn.ending, Ending::Failed(_) | Ending::Cancelled);
        if !whole || (broken && !self.broken_text) {
            told.text.clear();
        }
        told.usage = told.usage.filter(|_| self.usage && whole);
        told
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn wait(status: u16, body: &Value) -> Shown {
    assert_eq!(status, 200, "{body}");
    let mut shown = Shown { text: text(&body["text"]), ..Shown::default() };
    for call in body["tool_calls"].as_array().unwrap() {
        shown.call(&call["tool"], &call["arguments"]);
        let outcome = Outcome::of(call["outcome"] != "ok", &json!(""));
        shown.tools.last_mut().unwrap().outcome = Some(outcome);
    }
    shown.usage = usage(&body["usage"]["input"], &body["usage"]["output"]);
    let code = &body["error"]["code"];
    shown.ending = match body["ending"].as_str().unwrap() {
        "completed" => Ending::Completed,
        "cancelled" => Ending::Cancelled,
        _ => Ending::failed(code.as_str().unwrap().starts_with("provider_"), code),
    };
    shown
}

fn oxios(status: u16, body: &Value) -> Shown {
    assert_eq!(status, 200, "{body}");
    let mut shown = Shown { text: text(&body["reply"]), ..Shown::default() };
    for call in body["tool_calls"].as_array().unwrap() {
        shown.call(&call["tool_name"], &call["input"]);
        let outcome = Outcome::of(call["is_error"] == true, &call["output"]);
        shown.tools.last_mut().unwrap().outcome = Some(outcome);
    }
    let error = &body["error"];
    if error.is_null() {
        assert_eq!(body["evaluation_passed"], true);
        shown.ending = Ending::Completed;
        return shown;
    }
    // The reply goes on after what was said: with why there is no more of it.
    let said = shown.text.strip_suffix(error["message"].as_str().unwrap()).expect("it ends with the reason");
    shown.text = said.strip_suffix("\n\n").unwrap_or(said).to_owned();
    let kind = &error["kind"];
    shown.ending = match kind == "cancelled" {
        true => Ending::Cancelled,
        false => Ending::failed(kind == "provider_error", kind),
    };
    shown
}

fn webhook(status: u16, body: &Value) -> Shown {
    if status != 200 {
        let code = &body["code"];
        return Shown { ending: Ending::failed(code == "PROVIDER_ERROR", code), ..Shown::default() };
    }
    let said = text(&body["response"]);
    // Nothing was said before it was stopped.
    let said = if said == "[stopped]" { String::new() } else { said };
    let usage = usage(&body["input_tokens"], &body["output_tokens"]);
    Shown { text: said, usage, ending: Ending::Completed, ..Shown::default() }
}

fn completion(status: u16, body: &Value) -> Shown {
    if status != 200 {
        let code = &body["error"]["code"];
        let is_provider = code.as_str().unwrap().starts_with("provider_");
        return Shown { ending: Ending::failed(is_provider, code), ..Shown::default() };
    }
    let message = &body["choices"][0]["message"];
    Shown {
        text: text(&message["content"]),
        reasoning: message["reasoning_content"].as_str().unwrap_or_default().to_owned(),
        usage: usage(&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]),
        ending: Ending::Completed,
        ..Shown::default()
    }
}

fn response(status: u16, body: &Value) -> Shown {
    if status != 200 {
        let code = &body["error"]["code"];
        let is_provider = code.as_str().unwrap().starts_with("provider_");
        return Shown { ending: Ending::failed(is_provider, code), ..Shown::default() };
    }
    let items = |kind: &str| {
        let items = body["output"].as_array().unwrap().iter();
        items.filter(|item| item["type"] == *kind).cloned().collect::<Vec<_>>()
    };
    let texts: Vec<_> = items("message").iter().map(|item| text(&item["content"][0]["text"])).collect();
    let thoughts: Vec<_> = items("reasoning").iter().map(|item| text(&item["summary"][0]["text"])).collect();
    Shown {
        text: texts.join("\n\n"),
        reasoning: thoughts.concat(),
        usage: usage(&body["usage"]["input_tokens"], &body["usage"]["output_tokens"]),
        ending: if body["status"] == "cancelled" { Ending::Cancelled } else { Ending::Completed },
        ..Shown::default()
    }
}

fn orra(status: u16, body: &Value) -> Shown {
    let used = &body["usage"];
    let usage = if used.is_null() { None } else { usage(&used["input_tokens"], &used["output_tokens"]) };
    if status == 200 {
        let text = text(&body["message"]);
        return Shown { text, usage, ending: Ending::Completed, ..Shown::default() };
    }
    let code = &body["code"];
    let ending = match code == "cancelled" {
        true => Ending::Cancelled,
        false => Ending::failed(code.as_str().unwrap().starts_with("provider_"), code),
    };
    Shown { usage, ending, ..Shown::default() }
}

/// A client whose requests wait, in one session; beside it somebody who sees when they were accepted.
struct Client {
    line: Line,
    way: Way,
    /// The session, as its door calls it.
    session: String,
    /// The same, as all doors do.
    id: String,
    events: Reply,
    answers: VecDeque<JoinHandle<(u16, Value)>>,
    asked: Option<String>,
}

impl Client {
    async fn new(kit: &Kit, way: Way) -> Self {
        let line = kit.line.clone();
        let named = matches!(way, Way::Oxios | Way::Webhook | Way::Completion | Way::Orra);
        let session = if named { "talk".to_owned() } else { native::session(&line).await };
        let events =
            line.stream("GET", "/api/v1/events", "accept: text/event-stream\r\n", &Value::Null).await;
        Self { line, way, session, id: String::new(), events, answers: VecDeque::new(), asked: None }
    }

    async fn until(&mut self, name: &str) -> Value {
        loop {
            let event = self.events.next().await.expect("the stream goes on");
            if event.name == name {
                return event.json();
            }
        }
    }
}

impl Plays for Client {
    async fn say(&mut self, words: &str) {
        let (path, headers, body) = self.way.request(&self.session, words);
        let line = self.line.clone();
        self.answers
            .push_back(tokio::spawn(async move { line.answer("POST", &path, &headers, &body).await }));
        self.id = text(&self.until("input.accepted").await["session"]);
    }

    async fn asked(&mut self) {
        self.asked = Some(text(&self.until("approval.requested").await["approval"]));
    }

    async fn decide(&mut self, approve: bool) {
        native::decide(&self.line, &self.asked.take().unwrap(), approve).await;
    }

    async fn cancel(&mut self) {
        native::cancel(&self.line, &self.id).await;
    }

    async fn shown(&mut self) -> Shown {
        let (status, body) = soon(self.answers.pop_front().unwrap()).await.unwrap();
        self.way.read(status, &body)
    }
}

/// Plays a scenario at every door whose answers come in one piece, each at a gateway of its own.
async fn in_one_piece(scenario: fn() -> Scenario) {
    for way in Way::ALL {
        let kit = Kit::new().await;
        let mut scenario = scenario();
        kit.gateway.model().push(std::mem::take(&mut scenario.scripts));
        let expected: Vec<_> = scenario.shown.iter().map(|shown| way.tells().of(shown)).collect();
        let shown = play(Client::new(&kit, way).await, scenario).await;
        assert_eq!(shown, expected, "{way:?}");
        kit.stop().await;
    }
}

/// A test for each scenario.
macro_rules! scenarios {
    ($($test:ident $scenario:ident)*) => {$(
        #[tokio::test]
        async fn $test() {
            in_one_piece(scenario::$scenario).await;
        }
    )*};
}

scenarios! {
    a_text_is_answered_alike a_text_is_shown_alike
    reasoning_is_answered_alike reasoning_is_shown_alike
    a_tool_between_two_texts_is_answered_alike a_tool_between_two_texts_is_shown_alike
    a_tool_that_fails_is_answered_alike a_tool_that_fails_is_shown_alike
    a_call_that_was_approved_is_answered_alike a_call_that_was_approved_is_shown_alike
    a_call_that_was_denied_is_answered_alike a_call_that_was_denied_is_shown_alike
    a_failure_before_any_text_is_answered_alike a_failure_before_any_text_is_shown_alike
    a_failure_after_some_text_is_answered_alike a_failure_after_some_text_is_shown_alike
    a_turn_that_was_cancelled_is_answered_alike a_turn_that_was_cancelled_is_shown_alike
    two_quick_inputs_are_answered_alike two_quick_inputs_are_shown_alike
}
