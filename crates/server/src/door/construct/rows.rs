//! A session's history as the messages route lists it: a fold of the log.

use std::collections::BTreeMap;

use moongate_protocol::{Envelope, Event, InputId, Part, Role, Timestamp, TurnId};
use serde::Serialize;

use super::fold::attachments;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowStatus {
    Complete,
    /// Cut or stopped.
    Incomplete,
    /// What a turn that failed was asked.
    Failed,
}

/// Who speaks in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowRole {
    User,
    Assistant,
    Tool,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) role: RowRole,
    pub(super) content: String,
    pub(super) seq: u64,
    pub(super) turn_id: Option<TurnId>,
    pub(super) created_at: Timestamp,
    pub(super) status: RowStatus,
    /// Ids of uploads, until the route knows their names.
    #[serde(skip)]
    pub(super) files: Vec<String>,
}

struct Said {
    content: String,
    files: Vec<String>,
    at: Timestamp,
}

/// The fold of a log to its rows.
pub(super) struct Rows {
    rows: Vec<Row>,
    waiting: BTreeMap<InputId, Said>,
    /// With the steps and tools of each turn.
    full: bool,
    /// The text of the running turn's steps, and the row its first input is.
    texts: Vec<(u64, Timestamp, String)>,
    asked: usize,
}

impl Rows {
    pub(super) fn new(full: bool) -> Self {
        Self { rows: Vec::new(), waiting: BTreeMap::new(), full, texts: Vec::new(), asked: 0 }
    }

    /// The rows, oldest first.
    pub(super) fn finish(self) -> Vec<Row> {
        self.rows
    }

    pub(super) fn take(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::InputAccepted(input) => {
                let content = Part::join_text(&input.parts);
                let files = attachments(&input.metadata);
                self.waiting.insert(input.input, Said { content, files, at: envelope.at });
            }
            Event::InputWithdrawn(gone) => drop(self.waiting.remove(&gone.input)),
            Event::TurnStarted(started) => {
                (self.texts, self.asked) = (Vec::new(), self.rows.len());
                for input in &started.inputs {
                    self.user(*input, envelope, started.turn);
                }
            }
            Event::MessageCompleted(message) => match message.input {
                Some(input) => self.user(input, envelope, message.turn),
                None if message.role == Role::Assistant => {
                    let text = Part::join_text(&message.parts);
                    self.texts.push((envelope.seq.0, envelope.at, text));
                }
                None => {}
            },
            Event::ToolFinished(finished) if self.full => {
                self.earlier_steps(finished.turn, 0);
                let content = Part::join_text(&finished.content);
                self.push(RowRole::Tool, content, envelope, finished.turn, RowStatus::Complete);
            }
            Event::TurnCompleted(end) => {
                self.earlier_steps(end.turn, 1);
                let answer = self.texts.pop().map(|(_, _, text)| text).unwrap_or_default();
                self.push(RowRole::Assistant, answer, envelope, end.turn, RowStatus::Complete);
            }
            Event::TurnFailed(end) => {
                for row in &mut self.rows[self.asked..] {
                    if row.role == RowRole::User {
                        row.status = RowStatus::Failed;
                    }
                }
                self.broken_off(envelope, end.turn);
            }
            Event::TurnCancelled(end) => self.broken_off(envelope, end.turn),
            _ => {}
        }
    }

    fn user(&mut self, input: InputId, envelope: &Envelope, turn: TurnId) {
        let Some(said) = self.waiting.remove(&input) else { return };
        self.rows.push(Row {
            role: RowRole::User,
            content: said.content,
            seq: envelope.seq.0,
            turn_id: Some(turn),
            created_at: said.at,
            status: RowStatus::Complete,
            files: said.files,
        });
    }

    /// Rows for the texts before the last `keep`.
    fn earlier_steps(&mut self, turn: TurnId, keep: usize) {
        if !self.full {
            return;
        }
        let count = self.texts.len().saturating_sub(keep);
        let steps = self.texts.drain(..count).filter(|(_, _, text)| !text.is_empty());
        self.rows.extend(steps.map(|(seq, at, content)| Row {
            role: RowRole::Assistant,
            content,
            seq,
            turn_id: Some(turn),
            created_at: at,
            status: RowStatus::Complete,
            files: Vec::new(),
        }));
    }

    fn broken_off(&mut self, envelope: &Envelope, turn: TurnId) {
        let content: String = self.texts.drain(..).map(|(_, _, text)| text).collect();
        if !content.is_empty() {
            self.push(RowRole::Assistant, content, envelope, turn, RowStatus::Incomplete);
        }
    }

    fn push(&mut self, role: RowRole, content: String, envelope: &Envelope, turn: TurnId, status: RowStatus) {
        let (seq, created_at, turn_id) = (envelope.seq.0, envelope.at, Some(turn));
        self.rows.push(Row { role, content, seq, turn_id, created_at, status, files: Vec::new() });
    }
}
