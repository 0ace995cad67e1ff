//! One turn as frames: pure, and the same live, from the log, after a resume and in tests.

use moongate_protocol::{
    ApprovalRequested, Delta, DeltaKind, Envelope, Event, ItemId, MessageCompleted, Part, Role, ToolFinished,
    ToolOutcome, TurnStarted,
};
use serde_json::Value;

use super::{
    ending::{Kind, NO_TEXT, Problem},
    frames::{Body, Client, Done, Reasoning},
    ids::Uuid,
    mask,
    turn::{BLANK_LINE, Call, Turn, object, shown},
};

/// Characters of a tool's output in its `tool_end`.
const SUMMARY_CHARS: usize = 2_000;
/// Characters of an approval's words.
const APPROVAL_CHARS: usize = 2_000;
/// Arguments that say what a call is about, the most telling first.
const RESOURCES: &[&str] = &["path", "file", "file_path", "command", "url", "resource", "query"];

/// What of a turn's text has been shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Characters shown of each item of the message being written.
    items: Vec<(ItemId, u64)>,
    /// The reasoning block that has its start and not its end.
    reasoning: Option<ItemId>,
    /// Some text was shown.
    said: bool,
}

/// A turn on its way to one kind of client.
#[derive(Clone, Debug)]
pub(super) struct Show {
    pub(super) turn: Turn,
    pub(super) message: Uuid,
    pub(super) client: Client,
    pub(super) progress: Progress,
    reasoning: bool,
}

impl Show {
    /// The turn begins.
    pub(super) fn begin(
        (started, envelope): (&TurnStarted, &Envelope),
        (message, client): (Uuid, Client),
        reasoning: bool,
    ) -> (Self, Vec<Body>) {
        let turn = Turn::begin(started, envelope.at);
        let model = Body::Model { model: turn.model.clone() };
        (Self { turn, message, client, progress: Progress::default(), reasoning }, vec![model])
    }

    /// The frames of a piece of an unfinished item.
    pub(super) fn delta(&mut self, delta: &Delta) -> Vec<Body> {
        let mut out = Vec::new();
        match delta.kind {
            DeltaKind::Text => self.text(delta.item, delta.offset, &delta.text, &mut out),
            DeltaKind::Reasoning => self.think(delta.item, delta.offset, &delta.text, &mut out),
            DeltaKind::ToolArguments => self.end_reasoning(&mut out),
            DeltaKind::ToolOutput => out.extend(self.tool_progress(delta)),
        }
        out
    }

    /// The frames of one of the turn's events.
    pub(super) fn event(&mut self, envelope: &Envelope) -> Vec<Body> {
        let mut out = Vec::new();
        let before = match &envelope.event {
            Event::ToolFinished(finished) => self.turn.call(&finished.call).is_some_and(|call| call.started),
            _ => false,
        };
        self.turn.take(envelope);
        match &envelope.event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.complete(message, &mut out);
            }
            Event::TurnResumed(_) => {
                // What was being written is written anew.
                self.end_reasoning(&mut out);
                self.progress.items.clear();
            }
            Event::ApprovalRequested(request) => out.push(approval(request)),
            Event::ToolCalled(called) => out.extend(self.turn.call(&called.call).map(start)),
            Event::ToolFinished(finished) => self.tool_end(finished, before, &mut out),
            event if event.ends_turn().is_some() => self.end(&mut out),
            _ => {}
        }
        out
    }

    /// The whole of an ended turn in few frames: its reply and its end.
    pub(super) fn in_short(&self) -> Vec<Body> {
        let mut ended = self.clone();
        let said = !self.turn.text.is_empty();
        ended.progress = Progress { said, ..Progress::default() };
        let mut out = Vec::new();
        out.extend(said.then(|| Body::Token { content: self.turn.text.clone() }));
        ended.end(&mut out);
        out
    }

    /// Shows what was not shown yet of a complete message.
    fn complete(&mut self, message: &MessageCompleted, out: &mut Vec<Body>) {
        let mut at = 0;
        for part in &message.parts {
            match part {
                Part::Text { text } => {
                    self.text(message.item, at, text, out);
                    at += text.chars().count() as u64;
                }
                Part::Reasoning { item, text, .. } => self.think(*item, 0, text, out),
                _ => {}
            }
        }
        self.end_reasoning(out);
        self.progress.items.clear();
    }

    fn text(&mut self, item: ItemId, offset: u64, text: &str, out: &mut Vec<Body>) {
        let begins = self.progress.of(item) == 0;
        let Some(rest) = self.progress.news(item, offset, text) else { return };
        self.end_reasoning(out);
        let content =
            if begins && self.progress.said { format!("{BLANK_LINE}{rest}") } else { rest.to_owned() };
        self.progress.said = true;
        out.push(Body::Token { content });
    }

    fn think(&mut self, item: ItemId, offset: u64, text: &str, out: &mut Vec<Body>) {
        if !self.reasoning {
            return;
        }
        let Some(rest) = self.progress.news(item, offset, text) else { return };
        if self.progress.reasoning != Some(item) {
            self.end_reasoning(out);
            self.progress.reasoning = Some(item);
            out.push(Reasoning::start());
        }
        out.push(Reasoning::piece(rest.to_owned()));
    }

    fn end_reasoning(&mut self, out: &mut Vec<Body>) {
        if self.progress.reasoning.take().is_some() {
            out.push(Reasoning::end());
        }
    }

    fn tool_progress(&self, delta: &Delta) -> Option<Body> {
        let call = self.turn.calls.iter().find(|call| call.item == delta.item)?;
        Some(Body::ToolProgress {
            tool_call_id: call.id.clone(),
            tool_name: call.tool.clone(),
            progress: shown(&mask::text(&delta.text), SUMMARY_CHARS),
        })
    }

    fn tool_end(&self, finished: &ToolFinished, started: bool, out: &mut Vec<Body>) {
        let Some(call) = self.turn.call(&finished.call) else { return };
        // A call that never ran is shown whole all the same.
        if !started {
            out.push(start(call));
        }
        out.push(Body::ToolEnd {
            tool_name: call.tool.clone(),
            tool_call_id: call.id.clone(),
            duration_ms: finished.duration_ms,
            is_error: finished.outcome != ToolOutcome::Ok,
            output_summary: shown(&mask::text(&Part::join_text(&finished.content)), SUMMARY_CHARS),
        });
    }

    fn end(&mut self, out: &mut Vec<Body>) {
        self.end_reasoning(out);
        let problem = self.turn.problem();
        if problem.is_none() && !self.progress.said {
            out.push(Body::Token { content: NO_TEXT.to_owned() });
        }
        let tokens = self.turn.usage.tokens;
        if self.turn.usage.calls > 0 {
            out.push(Body::Usage { input_tokens: tokens.input, output_tokens: tokens.output });
        }
        let done = Done::of(&self.turn, self.message, self.client);
        let Some(problem) = problem else {
            out.push(done);
            return;
        };
        if problem.kind != Kind::Cancelled && self.client != Client::Ui2 {
            let blank = if self.progress.said { BLANK_LINE } else { "" };
            out.push(Body::Token { content: format!("{blank}{}", problem.message) });
        }
        out.extend(terminal(&problem, self.client, done));
    }
}

/// The end of an input that was taken back before its turn began.
pub(super) fn withdrawn(client: Client) -> Vec<Body> {
    terminal(&Kind::Cancelled.problem(), client, Done::withdrawn())
}

fn terminal(problem: &Problem, client: Client, done: Body) -> Vec<Body> {
    let error = Body::Error(problem.into());
    // A later UI takes `done` after `error` for the end of another answer.
    if client == Client::Ui2 { vec![error] } else { vec![error, done] }
}

fn start(call: &Call) -> Body {
    Body::ToolStart {
        tool_name: call.tool.clone(),
        tool_call_id: call.id.clone(),
        tool_args: object(&call.input),
        context: (),
    }
}

fn approval(request: &ApprovalRequested) -> Body {
    Body::ToolApproval {
        id: Uuid(request.approval.bits()),
        tool_name: request.tool.to_string(),
        reason: reason(request),
        resource: resource(&request.arguments, &request.plan),
        expires_at: request.expires_at,
    }
}

/// What would run, in the gateway's words.
pub(super) fn reason(request: &ApprovalRequested) -> String {
    shown(&mask::text(&visible(&request.plan)), APPROVAL_CHARS)
}

/// What a call is about: the argument that names it, else the plan.
pub(super) fn resource(arguments: &Value, plan: &str) -> String {
    let named = RESOURCES.iter().find_map(|name| arguments.get(*name)?.as_str());
    shown(&mask::text(&visible(named.unwrap_or(plan))), APPROVAL_CHARS)
}

/// The text with control characters made visible, line breaks too.
pub(super) fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

impl Progress {
    fn of(&self, item: ItemId) -> u64 {
        self.items.iter().find(|(known, _)| *known == item).map_or(0, |(_, shown)| *shown)
    }

    /// The part of a piece that was not shown yet. A piece beyond what is known waits for the complete item.
    fn news<'t>(&mut self, item: ItemId, offset: u64, text: &'t str) -> Option<&'t str> {
        let shown = self.of(item);
        let end = offset + text.chars().count() as u64;
        if offset > shown || end <= shown {
            return None;
        }
        let known = usize::try_from(shown - offset).ok()?;
        let at = text.char_indices().nth(known).map_or(text.len(), |(at, _)| at);
        match self.items.iter_mut().find(|(known, _)| *known == item) {
            Some((_, shown)) => *shown = end,
            None => self.items.push((item, end)),
        }
        Some(&text[at..])
    }
}
