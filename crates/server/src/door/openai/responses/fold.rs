//! The fold of a turn to a response and to the numbered events of its stream: the same live, replayed and resumed.
//!
//! Numbers are the log's, not the stream's: every event that is no piece of text takes one, a piece of text takes one
//! for each of its characters and is told under the last of them. So a client that saw number `n` saw exactly what
//! comes before it, however the text was cut into pieces, and can go on after it. A turn that is tried again after a
//! restart numbers on from a place no attempt before it can reach.

use bytes::BytesMut;
use moongate_core::Frame;
use moongate_protocol::{
    Envelope, ErrorCode, Event as LogEvent, InputAccepted, ItemId, MessageCompleted, Part, StopReason,
    Timestamp,
};

use super::{
    events::{Event, Numbered},
    items::{Content, Item, Summary},
    object::{Incomplete, Response, ResponseError, Status, seconds},
};
use crate::door::openai::{
    chat::arguments_text,
    failure::Fault,
    ids::{self, ResponseId},
    models,
    run::Fold,
    stream::{Tale, add},
    watch::{Step, Watch, rest},
};

/// Numbers of one attempt: more than any turn has characters.
const ATTEMPT: u32 = 40;

/// How frames are written: as server-sent events, or as a WebSocket's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Sse,
    Socket,
}

/// A response in the making.
pub(super) struct Tape {
    watch: Watch,
    scene: Scene,
}

/// What was told so far.
struct Scene {
    id: ResponseId,
    store: bool,
    response: Option<Response>,
    /// Tools the client runs: only their calls are shown.
    tools: Vec<String>,
    /// The item that is being written, the last of the output.
    open: Option<Open>,
    /// The next number.
    next: u64,
    /// Why it failed, in our own words.
    failure: Option<ErrorCode>,
    /// What the client has seen already.
    seen: Option<u64>,
    style: Style,
}

/// An item that is being written.
#[derive(Clone, Debug)]
struct Open {
    item: ItemId,
    id: String,
    text: String,
    speaks: bool,
}

impl Tape {
    /// The response of an input; `seen` is the last number the client has.
    pub(super) fn new(id: ResponseId, store: bool, seen: Option<u64>, style: Style) -> Self {
        let scene = Scene {
            id,
            store,
            response: None,
            tools: Vec::new(),
            open: None,
            next: 0,
            failure: None,
            seen,
            style,
        };
        Self { watch: Watch::new(id.input), scene }
    }

    /// Takes the log's next event; says whether the response is over.
    pub(super) fn event(&mut self, envelope: &Envelope) -> bool {
        let (scene, mut out) = (&mut self.scene, BytesMut::new());
        self.watch.event(envelope, &mut |step| scene.take(step, &mut out))
    }

    /// The response so far; `None` before its input was accepted.
    pub(super) fn response(&self) -> Option<&Response> {
        self.scene.response.as_ref()
    }

    /// Why it failed.
    pub(super) fn failure(&self) -> Option<ErrorCode> {
        self.scene.failure
    }

    /// Its turn, once it began.
    pub(super) fn turn(&self) -> Option<moongate_protocol::TurnId> {
        self.watch.turn()
    }

    /// Takes the session's next frame; says whether the response is over.
    pub(super) fn advance(&mut self, frame: &Frame, out: &mut BytesMut) -> bool {
        let scene = &mut self.scene;
        self.watch.take(frame, |step| scene.take(step, out))
    }
}

impl Fold for Tape {
    fn take(&mut self, frame: &Frame) -> bool {
        self.advance(frame, &mut BytesMut::new())
    }
}

impl Tale for Tape {
    fn begin(&mut self, _: &mut BytesMut) {}

    fn take(&mut self, frame: &Frame, out: &mut BytesMut) -> bool {
        self.advance(frame, out)
    }

    fn break_off(&mut self, fault: &Fault, out: &mut BytesMut) {
        let info = fault.info();
        let error = super::Broken { kind: "error", code: info.code, message: info.message, param: None };
        add(Some("error"), &error, out);
    }
}

impl Scene {
    fn take(&mut self, step: &Step<'_>, out: &mut BytesMut) {
        match *step {
            Step::Accepted(input, at) => self.accept(input, at, out),
            Step::Started(started) => {
                if let Some(response) = &mut self.response {
                    let agent = &started.agent;
                    if response.model == "moongate" {
                        response.model = models::name(&agent.agent, None);
                    }
                }
            }
            Step::Resumed(attempt) => self.resume(attempt),
            Step::Reasoning(item, text) => self.write(item, text, false, out),
            Step::Text(item, text) => self.write(item, text, true, out),
            Step::Message(message) => self.message(message, out),
            Step::End(event, at) => self.end(event, at, out),
        }
    }

    fn accept(&mut self, input: &InputAccepted, at: Timestamp, out: &mut BytesMut) {
        self.tools = input.client_tools.iter().map(|tool| tool.name.to_string()).collect();
        let response = Response::asked(self.id, input, at, self.store);
        self.tell(&Event::Created { response: &response }, out);
        self.tell(&Event::InProgress { response: &response }, out);
        self.response = Some(response);
    }

    fn resume(&mut self, attempt: u32) {
        // What was being written is not complete and never will be; it is written anew.
        self.open = None;
        self.next = self.next.max(u64::from(attempt.saturating_sub(1)) << ATTEMPT);
    }

    /// Where the item that is being written will be in the output.
    fn index(&self) -> usize {
        self.response.as_ref().map_or(0, |response| response.output.len())
    }

    fn write(&mut self, item: ItemId, text: &str, speaks: bool, out: &mut BytesMut) {
        if self.open.as_ref().is_none_or(|open| open.item != item) {
            self.close("completed", out);
            self.begin(item, speaks, out);
        }
        let Some(mut open) = self.open.take() else { return };
        open.text.push_str(text);
        let (output_index, item_id) = (self.index(), open.id.as_str());
        self.piece(text, out, |delta| match speaks {
            true => Event::TextDelta { item_id, output_index, content_index: 0, delta, logprobs: [] },
            false => Event::SummaryDelta { item_id, output_index, summary_index: 0, delta },
        });
        self.open = Some(open);
    }

    fn begin(&mut self, item: ItemId, speaks: bool, out: &mut BytesMut) {
        let (output_index, text) = (self.index(), String::new());
        let id = ids::item(if speaks { "msg_" } else { "rs_" }, item);
        let added = if speaks {
            let (id, content) = (id.clone(), Vec::new());
            Item::Message { id, status: "in_progress", role: "assistant", content }
        } else {
            Item::Reasoning { id: id.clone(), summary: Vec::new(), status: "in_progress" }
        };
        self.tell(&Event::ItemAdded { output_index, item: &added }, out);
        if speaks {
            let part = &Content::said(text.clone());
            self.tell(&Event::PartAdded { item_id: &id, output_index, content_index: 0, part }, out);
        } else {
            let part = &Summary::of(text.clone());
            self.tell(&Event::SummaryAdded { item_id: &id, output_index, summary_index: 0, part }, out);
        }
        self.open = Some(Open { item, id, text, speaks });
    }

    fn close(&mut self, status: &'static str, out: &mut BytesMut) {
        let Some(Open { id, text, speaks, .. }) = self.open.take() else { return };
        let (output_index, item_id) = (self.index(), id.as_str());
        let item = if speaks {
            let content_index = 0;
            self.tell(
                &Event::TextDone { item_id, output_index, content_index, text: &text, logprobs: [] },
                out,
            );
            let part = Content::said(text);
            self.tell(&Event::PartDone { item_id, output_index, content_index, part: &part }, out);
            Item::Message { id, status, role: "assistant", content: vec![part] }
        } else {
            let summary_index = 0;
            self.tell(&Event::SummaryTextDone { item_id, output_index, summary_index, text: &text }, out);
            let part = Summary::of(text);
            self.tell(&Event::SummaryDone { item_id, output_index, summary_index, part: &part }, out);
            Item::Reasoning { id, summary: vec![part], status }
        };
        self.done(item, out);
    }

    fn done(&mut self, item: Item, out: &mut BytesMut) {
        self.tell(&Event::ItemDone { output_index: self.index(), item: &item }, out);
        if let Some(response) = &mut self.response {
            response.output.push(item);
        }
    }

    fn message(&mut self, message: &MessageCompleted, out: &mut BytesMut) {
        self.close(if message.partial { "incomplete" } else { "completed" }, out);
        for part in &message.parts {
            let Part::ToolCall { item, call, tool, arguments } = part else { continue };
            if self.tools.contains(tool) {
                let (id, arguments) = (ids::item("fc_", *item), arguments_text(arguments));
                self.call((&id, call.as_str(), tool), &arguments, out);
            }
        }
    }

    fn call(&mut self, (item_id, call, name): (&str, &str, &str), arguments: &str, out: &mut BytesMut) {
        let output_index = self.index();
        let item = |arguments: &str, status| Item::FunctionCall {
            id: item_id.to_owned(),
            call_id: call.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            status,
        };
        self.tell(&Event::ItemAdded { output_index, item: &item("", "in_progress") }, out);
        self.piece(arguments, out, |delta| Event::ArgumentsDelta { item_id, output_index, delta });
        self.tell(&Event::ArgumentsDone { item_id, output_index, name, arguments }, out);
        self.done(item(arguments, "completed"), out);
    }

    fn end(&mut self, event: &LogEvent, at: Timestamp, out: &mut BytesMut) {
        self.close("incomplete", out);
        let Some(mut response) = self.response.take() else { return };
        response.end(event, at);
        if let LogEvent::TurnFailed(failed) = event {
            self.failure = Some(failed.code);
        }
        let told = match response.status {
            Status::Completed => Event::Completed { response: &response },
            Status::Failed => Event::Failed { response: &response },
            _ => Event::Incomplete { response: &response },
        };
        self.tell(&told, out);
        self.response = Some(response);
    }

    /// Tells an event that is no piece of text.
    fn tell(&mut self, event: &Event<'_>, out: &mut BytesMut) {
        let number = self.next;
        self.next += 1;
        if self.seen.is_none_or(|seen| number > seen) {
            self.put(event, number, out);
        }
    }

    /// Tells a piece of text: what the client has of it already is left out.
    fn piece<'t>(&mut self, text: &'t str, out: &mut BytesMut, event: impl FnOnce(&'t str) -> Event<'t>) {
        let first = self.next;
        self.next += text.chars().count() as u64;
        let seen = self.seen.map_or(0, |seen| (seen + 1).saturating_sub(first));
        let fresh = rest(text, usize::try_from(seen).unwrap_or(usize::MAX));
        if !fresh.is_empty() {
            self.put(&event(fresh), self.next - 1, out);
        }
    }

    fn put(&self, event: &Event<'_>, sequence_number: u64, out: &mut BytesMut) {
        let numbered = Numbered::new(event, sequence_number);
        match self.style {
            Style::Sse => add(Some(event.name()), &numbered, out),
            Style::Socket => super::socket_line(&numbered, out),
        }
    }
}

impl Response {
    fn end(&mut self, event: &LogEvent, at: Timestamp) {
        self.completed_at = Some(seconds(at));
        (self.status, self.usage) = match event {
            LogEvent::TurnCompleted(ended) => {
                let reason = match ended.stop_reason {
                    StopReason::MaxTokens => Some("max_output_tokens"),
                    StopReason::Refusal => Some("content_filter"),
                    _ => None,
                };
                self.incomplete_details = reason.map(|reason| Incomplete { reason });
                let status = if reason.is_some() { Status::Incomplete } else { Status::Completed };
                (status, Some(ended.usage.into()))
            }
            LogEvent::TurnFailed(failed) => {
                let code = match failed.code {
                    ErrorCode::RateLimited | ErrorCode::ProviderRateLimited => "rate_limit_exceeded",
                    _ => "server_error",
                };
                self.error = Some(ResponseError { code, message: failed.message.clone() });
                (Status::Failed, Some(failed.usage.into()))
            }
            LogEvent::TurnCancelled(cancelled) => (Status::Cancelled, Some(cancelled.usage.into())),
            _ => (Status::Cancelled, None),
        };
    }
}
