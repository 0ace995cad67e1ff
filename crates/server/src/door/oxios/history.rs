//! A session's log as two arrays, its messages and its replies, paired by their place.

use std::collections::HashMap;

use moongate_core::SessionHandle;
use moongate_protocol::{Envelope, Event, InputAccepted, InputId, Part, Seq, SessionView, Timestamp};
use serde::Serialize;

use super::{
    chat::USER_LABEL,
    ids::{Uuid, message_id},
    turn::{ToolCall, Turn},
};
use crate::reply::Answer;

/// Turns of a session that its detail shows.
const TURNS: usize = 1_000;
/// Events read at once.
const BATCH: usize = 256;
/// Characters of a title.
const TITLE_CHARS: usize = 60;

#[derive(Serialize)]
struct Message {
    content: String,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct Response {
    content: String,
    session_id: String,
    seed_id: (),
    phase_reached: &'static str,
    evaluation_passed: Option<bool>,
    timestamp: Timestamp,
    message_id: Uuid,
    duration_ms: Option<u64>,
}

/// A session's detail.
#[derive(Serialize)]
pub(super) struct Detail {
    id: String,
    user_messages: Vec<Message>,
    agent_responses: Vec<Response>,
    metadata: Nothing,
    truncated: bool,
    #[serde(flatten)]
    facts: Facts,
}

/// What lists and details say of a session.
#[derive(Serialize)]
pub(super) struct Facts {
    user_id: String,
    project_id: (),
    active_seed_id: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    active_persona_id: Option<()>,
    created_at: Timestamp,
    updated_at: Timestamp,
    title: Option<String>,
    status: &'static str,
}

#[derive(Serialize)]
struct Nothing {}

impl Facts {
    pub(super) fn of(view: &SessionView) -> Self {
        use moongate_protocol::SessionState::{Idle, Running, Waiting};
        Self {
            user_id: view.metadata.get(USER_LABEL).cloned().unwrap_or_else(|| "default".into()),
            project_id: (),
            active_seed_id: (),
            active_persona_id: None,
            created_at: view.created_at,
            updated_at: view.updated_at,
            title: view.title.as_ref().map(|title| title.chars().take(TITLE_CHARS).collect()),
            status: match view.state {
                Idle => "idle",
                Running => "running",
                Waiting => "waiting",
            },
        }
    }
}

/// An input as it was said.
#[derive(Clone)]
pub(super) struct Said {
    content: String,
    at: Timestamp,
    pub(super) message: Uuid,
}

/// The fold of a log to what was said and what was answered.
#[derive(Default)]
pub(super) struct History {
    said: HashMap<InputId, Said>,
    /// The inputs that wait, in order.
    order: Vec<InputId>,
    ended: Vec<(Turn, Vec<Said>)>,
    running: Option<(Turn, Vec<Said>)>,
    truncated: bool,
}

impl History {
    /// Reads a whole session.
    pub(super) async fn read(session: &SessionHandle) -> Answer<Self> {
        let (mut history, mut after) = (Self::default(), Seq::ZERO);
        loop {
            let records = session.read(after, BATCH).await?;
            let Some(last) = records.last() else { return Ok(history) };
            after = last.position().seq;
            records.iter().filter_map(|record| record.envelope().ok()).for_each(|e| history.take(e));
        }
    }

    fn take(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::InputAccepted(input) => {
                self.said.insert(input.input, said(input, envelope.at));
                self.order.push(input.input);
            }
            Event::InputWithdrawn(gone) => self.forget(&[gone.input]),
            Event::TurnStarted(started) => {
                let said = started.inputs.iter().filter_map(|input| self.said.get(input).cloned()).collect();
                self.running = Some((Turn::begin(started, envelope.at), said));
                self.forget(&started.inputs);
            }
            // What another session ran was copied with its words.
            Event::SessionForked(_) => {
                self.ended.extend(self.running.take());
                self.order.clear();
            }
            Event::MessageCompleted(message) if message.input.is_some() => {
                let steering = message.input.and_then(|input| self.said.get(&input).cloned());
                if let (Some((_, said)), Some(steering)) = (&mut self.running, steering) {
                    said.push(steering);
                }
                self.forget(message.input.as_slice());
            }
            event => {
                let Some((turn, _)) = &mut self.running else { return };
                if event.turn() != Some(turn.id) {
                    return;
                }
                turn.take(envelope);
                if turn.end.is_some() {
                    self.ended.extend(self.running.take());
                }
                if self.ended.len() > TURNS {
                    self.ended.remove(0);
                    self.truncated = true;
                }
            }
        }
    }

    fn forget(&mut self, inputs: &[InputId]) {
        self.order.retain(|known| !inputs.contains(known));
        self.said.retain(|known, _| !inputs.contains(known));
    }

    /// Every turn with what set it off, oldest first.
    pub(super) fn turns(&self) -> impl Iterator<Item = &(Turn, Vec<Said>)> {
        self.ended.iter().chain(&self.running)
    }

    /// The calls of all turns, oldest first.
    pub(super) fn tool_calls(&self) -> Vec<ToolCall> {
        self.turns().flat_map(|(turn, said)| turn.tool_calls(id_of(turn, said))).collect()
    }

    /// The session's detail. Each ended turn is one entry in each array, so that they stay paired.
    pub(super) fn detail(&self, id: &str, view: &SessionView) -> Detail {
        let mut user_messages: Vec<_> = self.turns().map(|(turn, said)| message(turn, said)).collect();
        let waiting = self.order.iter().filter_map(|input| self.said.get(input));
        user_messages
            .extend(waiting.map(|said| Message { content: said.content.clone(), timestamp: said.at }));
        let answered = |(turn, said): &(Turn, Vec<Said>)| Response {
            content: turn.reply().into_owned(),
            session_id: id.to_owned(),
            seed_id: (),
            phase_reached: turn.phase(),
            evaluation_passed: turn.passed(),
            timestamp: turn.end.as_ref().map_or(turn.started_at, |(at, _)| *at),
            message_id: id_of(turn, said),
            duration_ms: turn.duration_ms(),
        };
        let facts = Facts { active_persona_id: Some(()), ..Facts::of(view) };
        Detail {
            id: id.to_owned(),
            user_messages,
            agent_responses: self.ended.iter().map(answered).collect(),
            metadata: Nothing {},
            truncated: self.truncated,
            facts,
        }
    }
}

/// A turn's id on the wire: its first message's.
pub(super) fn id_of(turn: &Turn, said: &[Said]) -> Uuid {
    said.first().map_or(Uuid(turn.id.bits()), |said| said.message)
}

fn message(turn: &Turn, said: &[Said]) -> Message {
    let content: Vec<_> = said.iter().map(|said| said.content.as_str()).collect();
    let timestamp = said.first().map_or(turn.started_at, |said| said.at);
    Message { content: content.join("\n\n"), timestamp }
}

fn said(input: &InputAccepted, at: Timestamp) -> Said {
    let shown = |part: &Part| match part {
        Part::Text { text } => Some(text.clone()),
        Part::Image { .. } => Some("[image]".to_owned()),
        Part::File { name, .. } => Some(format!("[file: {name}]")),
        _ => None,
    };
    let content: Vec<_> = input.parts.iter().filter_map(shown).collect();
    let key = input.idempotency_key.as_ref().map(|key| key.as_str());
    Said { content: content.join("\n"), at, message: message_id(input.input, key) }
}
