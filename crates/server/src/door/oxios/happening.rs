//! Native events as the events of `GET /api/events`: what happened, and never what was said.

use moongate_protocol::{
    ApprovalRequested, Decision, Envelope, Event, InputAccepted, InputId, Part, Phase, Timestamp, TurnId,
};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};

use super::{
    ending::problem,
    ids::{Uuid, message_id},
    show::{resource, visible},
};

/// Characters of an agent's name.
pub(super) const NAME_CHARS: usize = 80;
/// Characters of an approval's resource.
const RESOURCE_CHARS: usize = 200;
/// Inputs whose turn has not begun that are remembered, and turns that run.
const REMEMBERED: usize = 4_096;

/// One event.
#[derive(Debug, Serialize)]
pub(super) struct Happening {
    id: Uuid,
    timestamp: Timestamp,
    #[serde(flatten)]
    what: What,
    session_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Uuid>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum What {
    AgentCreated { agent_id: Uuid, name: String },
    AgentStarted { agent_id: Uuid },
    AgentStopped { agent_id: Uuid, success: bool },
    AgentFailed { agent_id: Uuid, error: String },
    PhaseStarted { phase: &'static str },
    PhaseCompleted { phase: &'static str },
    ApprovalRequested { action: String, resource: String },
    ApprovalResolved { approved: bool },
}

/// The stream missed events: read the lists again.
#[derive(Serialize)]
#[serde(tag = "type", rename = "resync")]
pub(super) struct Resync {
    pub(super) id: Uuid,
    pub(super) timestamp: Timestamp,
    pub(super) lagged: u64,
}

/// An input that has no turn yet.
#[derive(Clone, Debug)]
pub(super) struct Said {
    name: String,
    message: Uuid,
}

impl Said {
    pub(super) fn of(input: &InputAccepted) -> Self {
        let key = input.idempotency_key.as_ref().map(|key| key.as_str());
        Self { name: name(&input.parts), message: message_id(input.input, key) }
    }
}

/// A turn that runs.
#[derive(Clone, Debug)]
struct Running {
    message: Option<Uuid>,
    phase: Phase,
}

/// The fold of all sessions' events to the door's.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    said: HashMap<InputId, Said>,
    order: VecDeque<InputId>,
    running: HashMap<TurnId, Running>,
}

impl Happenings {
    /// Whether an input's words are known.
    pub(super) fn knows(&self, input: InputId) -> bool {
        self.said.contains_key(&input)
    }

    /// Keeps an input's words until its turn begins.
    pub(super) fn hear(&mut self, input: &InputAccepted) {
        if self.said.insert(input.input, Said::of(input)).is_none() {
            self.order.push_back(input.input);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.said.remove(&oldest);
            }
        }
    }

    /// The door's events of a native one; `id` makes an event's id.
    pub(super) fn take(
        &mut self,
        envelope: &Envelope,
        session_id: &str,
        mut id: impl FnMut() -> Uuid,
    ) -> Vec<Happening> {
        let (message, whats) = self.whats(&envelope.event);
        let own_id = match &envelope.event {
            Event::ApprovalRequested(request) => Some(Uuid(request.approval.bits())),
            Event::ApprovalResolved(resolved) => Some(Uuid(resolved.approval.bits())),
            _ => None,
        };
        let happening = |what| Happening {
            id: own_id.unwrap_or_else(&mut id),
            timestamp: envelope.at,
            what,
            session_id: session_id.to_owned(),
            message_id: message,
        };
        whats.into_iter().map(happening).collect()
    }

    fn whats(&mut self, event: &Event) -> (Option<Uuid>, Vec<What>) {
        let turn = event.turn();
        let message = turn.and_then(|turn| self.running.get(&turn)?.message);
        let whats = match event {
            Event::InputAccepted(input) => {
                self.hear(input);
                Vec::new()
            }
            Event::InputWithdrawn(gone) => {
                self.said.remove(&gone.input);
                Vec::new()
            }
            Event::TurnStarted(started) => {
                let said = started.inputs.iter().filter_map(|input| self.said.remove(input)).next();
                let message = said.as_ref().map(|said| said.message);
                self.begin(started.turn, message);
                let agent_id = Uuid(started.turn.bits());
                let name = said.map(|said| said.name).unwrap_or_default();
                let whats = vec![
                    What::AgentCreated { agent_id, name },
                    What::AgentStarted { agent_id },
                    What::PhaseStarted { phase: phase_name(Phase::Execute) },
                ];
                return (message, whats);
            }
            Event::PhaseEntered(entered) => match self.running.get_mut(&entered.turn) {
                Some(running) if running.phase != entered.phase => {
                    let before = std::mem::replace(&mut running.phase, entered.phase);
                    vec![
                        What::PhaseCompleted { phase: phase_name(before) },
                        What::PhaseStarted { phase: phase_name(entered.phase) },
                    ]
                }
                _ => Vec::new(),
            },
            Event::ApprovalRequested(request) => vec![approval(request)],
            Event::ApprovalResolved(resolved) => {
                vec![What::ApprovalResolved { approved: resolved.decision == Decision::Approve }]
            }
            Event::TurnCompleted(end) => {
                self.end(end.turn, |agent_id| What::AgentStopped { agent_id, success: true })
            }
            Event::TurnCancelled(end) => {
                self.end(end.turn, |agent_id| What::AgentStopped { agent_id, success: false })
            }
            Event::TurnFailed(end) => {
                let error = problem(end).kind.problem().message.into_owned();
                self.end(end.turn, |agent_id| What::AgentFailed { agent_id, error })
            }
            _ => Vec::new(),
        };
        (message, whats)
    }

    fn begin(&mut self, turn: TurnId, message: Option<Uuid>) {
        if self.running.len() >= REMEMBERED {
            // Turns whose end was missed.
            self.running.clear();
        }
        self.running.insert(turn, Running { message, phase: Phase::Execute });
    }

    fn end(&mut self, turn: TurnId, what: impl FnOnce(Uuid) -> What) -> Vec<What> {
        let last = self.running.remove(&turn);
        let phase = last.map(|running| What::PhaseCompleted { phase: phase_name(running.phase) });
        phase.into_iter().chain([what(Uuid(turn.bits()))]).collect()
    }
}

fn approval(request: &ApprovalRequested) -> What {
    let resource = resource(&request.arguments, &request.plan).chars().take(RESOURCE_CHARS).collect();
    What::ApprovalRequested { action: format!("use_tool:{}", request.tool), resource }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Interview => "Interview",
        Phase::Seed => "Seed",
        Phase::Execute => "Execute",
        Phase::Evaluate => "Evaluate",
        Phase::Evolve => "Evolve",
    }
}

/// A turn's name: the first line of what was said, cut.
pub(super) fn name(parts: &[Part]) -> String {
    let text = parts.iter().find_map(Part::as_text).unwrap_or_default();
    let line = text.trim().lines().next().unwrap_or_default();
    visible(line).chars().take(NAME_CHARS).collect()
}
