//! The history of a session in the form of orra's own session type: a fold of its log.

use std::collections::VecDeque;

use moongate_core::SessionHandle;
use moongate_protocol::{
    CallId, Envelope, Event, InputId, Part, Role, Seq, SessionView, Timestamp, ToolOutcome, TurnId,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{chat::LABEL, fault::Reply, name::Name};

/// Events read at once.
const BATCH: usize = 512;
/// What a call of an ended turn is given that has no result.
const NO_RESULT: &str = "The tool call did not finish.";

/// A session.
#[derive(Serialize)]
pub(super) struct Session {
    namespace: Segments,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<VecDeque<Message>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    metadata: Map<String, Value>,
    key: String,
    state: &'static str,
    epoch: String,
    last_seq: u64,
}

#[derive(Serialize)]
struct Segments {
    segments: Vec<String>,
}

/// A message.
#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_results: Vec<CallResult>,
    timestamp: Timestamp,
    seq: u64,
    turn_id: TurnId,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    status: &'static str,
}

#[derive(Serialize)]
struct Call {
    id: CallId,
    name: String,
    arguments: Value,
}

#[derive(Serialize)]
struct CallResult {
    call_id: CallId,
    content: String,
    is_error: bool,
}

/// Which messages are wanted: all, or the newest so many before a number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page {
    pub(super) limit: Option<usize>,
    pub(super) before: Option<u64>,
}

/// The session with its messages; without, when no page is asked for.
pub(super) async fn session(name: &Name, session: &SessionHandle, page: Option<Page>) -> Reply<Session> {
    let mut view = session.view().await?;
    let mut fold = Fold { page: page.unwrap_or_default(), ..Fold::default() };
    let mut after = Seq::ZERO;
    loop {
        let records = session.read(after, BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in &records {
            match record.envelope() {
                Ok(envelope) => fold.take(envelope),
                Err(error) => tracing::error!(%error, "an event cannot be read"),
            }
        }
    }
    let state = match () {
        () if fold.turn.is_some() => "running",
        () if fold.failed => "error",
        () => "idle",
    };
    view.head.seq = after;
    Ok(Session {
        namespace: Segments { segments: name.segments().map(str::to_owned).collect() },
        messages: page.map(|_| fold.found),
        created_at: view.created_at,
        updated_at: view.updated_at,
        metadata: metadata(&view),
        key: name.as_str().to_owned(),
        state,
        epoch: view.head.epoch.to_string(),
        last_seq: after.0,
    })
}

/// The client's metadata, and whether the session approves by itself.
pub(super) fn metadata(view: &SessionView) -> Map<String, Value> {
    let kept =
        view.metadata.get(LABEL).and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut metadata = kept.unwrap_or_default();
    if view.rules.auto_approve {
        metadata.insert("chaos_mode".into(), Value::Bool(true));
    }
    metadata
}

/// The fold of a log to its last messages.
#[derive(Default)]
struct Fold {
    page: Page,
    found: VecDeque<Message>,
    waiting: Vec<(InputId, Waiting)>,
    turn: Option<Turn>,
    failed: bool,
}

struct Waiting {
    at: Timestamp,
    text: String,
}

struct Turn {
    agent: String,
    /// Calls without a result.
    open: Vec<CallId>,
}

impl Fold {
    fn take(&mut self, envelope: &Envelope) {
        let (seq, at) = (envelope.seq.0, envelope.at);
        match &envelope.event {
            Event::InputAccepted(input) => {
                let text = Part::join_text(&input.parts);
                self.waiting.push((input.input, Waiting { at, text }));
            }
            Event::InputWithdrawn(gone) => self.waiting.retain(|(input, _)| *input != gone.input),
            Event::TurnStarted(started) => {
                let agent = started.agent.agent.to_string();
                self.turn = Some(Turn { agent, open: Vec::new() });
                for input in &started.inputs {
                    self.said(*input, started.turn, seq);
                }
            }
            Event::MessageCompleted(message) => match message.input {
                Some(input) => self.said(input, message.turn, seq),
                None if message.role == Role::Assistant => self.answered(message, seq, at),
                None => {}
            },
            Event::ToolFinished(finished) => {
                let result = CallResult {
                    call_id: finished.call.clone(),
                    content: Part::join_text(&finished.content),
                    is_error: finished.outcome != ToolOutcome::Ok,
                };
                self.result(finished.turn, result, seq, at);
            }
            event => {
                if let Some(turn) = event.ends_turn() {
                    self.failed = matches!(event, Event::TurnFailed(_));
                    let open =
                        self.turn.as_mut().map(|turn| std::mem::take(&mut turn.open)).unwrap_or_default();
                    for call_id in open {
                        let result = CallResult { call_id, content: NO_RESULT.into(), is_error: true };
                        self.result(turn, result, seq, at);
                    }
                    self.turn = None;
                }
            }
        }
    }

    /// An input whose turn began. That is its place: what was answered while it waited stands before it.
    fn said(&mut self, input: InputId, turn_id: TurnId, seq: u64) {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == input) else { return };
        let (_, waiting) = self.waiting.remove(at);
        self.push(Message {
            role: "user",
            content: waiting.text,
            tool_calls: Vec::new(),
            tool_results: Vec::new(),
            timestamp: waiting.at,
            seq,
            turn_id,
            agent: None,
            status: "complete",
        });
    }

    fn answered(&mut self, message: &moongate_protocol::MessageCompleted, seq: u64, timestamp: Timestamp) {
        let calls = message.parts.iter().filter_map(|part| match part {
            Part::ToolCall { call, tool, arguments, .. } => {
                Some(Call { id: call.clone(), name: tool.clone(), arguments: arguments.clone() })
            }
            _ => None,
        });
        let tool_calls: Vec<_> = calls.collect();
        let mut agent = None;
        if let Some(turn) = &mut self.turn {
            turn.open.extend(tool_calls.iter().map(|call| call.id.clone()));
            agent = Some(turn.agent.clone());
        }
        self.push(Message {
            role: "assistant",
            content: Part::join_text(&message.parts),
            tool_calls,
            tool_results: Vec::new(),
            timestamp,
            seq,
            turn_id: message.turn,
            agent,
            status: if message.partial { "incomplete" } else { "complete" },
        });
    }

    /// The results of one model step are one message.
    fn result(&mut self, turn_id: TurnId, result: CallResult, seq: u64, timestamp: Timestamp) {
        if let Some(turn) = &mut self.turn {
            turn.open.retain(|call| *call != result.call_id);
        }
        match self.found.back_mut().filter(|last| !last.tool_results.is_empty() && last.turn_id == turn_id) {
            Some(last) => last.tool_results.push(result),
            None => self.push(Message {
                role: "user",
                content: String::new(),
                tool_calls: Vec::new(),
                tool_results: vec![result],
                timestamp,
                seq,
                turn_id,
                agent: None,
                status: "complete",
            }),
        }
    }

    fn push(&mut self, message: Message) {
        if self.page.before.is_some_and(|before| message.seq >= before) {
            return;
        }
        if self.page.limit.is_some_and(|limit| self.found.len() >= limit) {
            self.found.pop_front();
        }
        self.found.push_back(message);
    }
}
