//! What was said elsewhere, before a session began here or since, as events of its log.

use bytes::Bytes;
use moongate_protocol::{
    AgentSnapshot, BlobHash, ErrorCode, Event, InputAccepted, InputId, ItemId, MessageCompleted, Metadata,
    Overlap, Overrides, Part, Principal, Role, Said, StopReason, TurnCompleted, TurnId, TurnStarted,
    UsageTotal,
};
use sha2::{Digest, Sha256};

use crate::{Fence, Ids, NewSession, Refusal, limits::HISTORY_MESSAGES};

/// How a session begins that does not begin empty.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// The session.
    pub new: NewSession,
    /// What was said before, oldest first.
    pub history: Vec<Said>,
    /// The bytes behind the history's images and files.
    pub attachments: Vec<Bytes>,
}

/// The name the blob store will have for these bytes.
pub fn blob_hash(bytes: &[u8]) -> BlobHash {
    BlobHash(Sha256::digest(bytes).into())
}

/// Checks a history against its bounds.
///
/// # Errors
/// When it is too long, or somebody says what only others can.
pub(crate) fn check(history: &[Said]) -> Result<(), Refusal> {
    if history.len() > HISTORY_MESSAGES {
        let message = format!("at most {HISTORY_MESSAGES} messages are taken in at once");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let fits = |said: &Said| {
        said.parts.iter().all(|part| match part {
            Part::Text { .. } | Part::Image { .. } | Part::File { .. } => true,
            Part::ToolResult { .. } => said.role == Role::User,
            Part::Reasoning { .. } | Part::ToolCall { .. } => said.role == Role::Assistant,
        })
    };
    if !history.iter().all(fits) {
        let message = "a person says text, images, files and results; a model says text and calls";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// Writes a history as turns that are over: nothing of it is run, waits, or was paid for here.
pub(crate) struct Writer<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) by: &'a Principal,
    pub(crate) agent: AgentSnapshot,
    pub(crate) fence: Fence,
}

#[derive(Default)]
struct Written {
    events: Vec<Event>,
    /// What was said that no turn has taken up.
    inputs: Vec<InputId>,
    /// The open turn, and why its model stopped last.
    turn: Option<(TurnId, StopReason)>,
}

impl Writer<'_> {
    pub(crate) fn write(&self, history: Vec<Said>) -> Vec<Event> {
        let mut written = Written::default();
        for said in history {
            match said.role {
                Role::User => self.person(said.parts, &mut written),
                Role::Assistant => self.model(said.parts, &mut written),
            }
        }
        if !written.inputs.is_empty() {
            self.start(&mut written);
        }
        end(&mut written);
        written.events
    }

    fn person(&self, parts: Vec<Part>, written: &mut Written) {
        end(written);
        let input = self.ids.make(InputId::new);
        written.inputs.push(input);
        written.events.push(Event::InputAccepted(InputAccepted {
            input,
            author: self.by.clone(),
            parts,
            overlap: Overlap::Queue,
            idempotency_key: None,
            overrides: Overrides::default(),
            client_tools: Vec::new(),
            metadata: Metadata::new(),
            agents: Vec::new(),
        }));
    }

    fn model(&self, parts: Vec<Part>, written: &mut Written) {
        let turn = self.start(written);
        let calls = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        let stop_reason = if calls { StopReason::ToolUse } else { StopReason::EndTurn };
        written.turn = Some((turn, stop_reason));
        written.events.push(Event::MessageCompleted(MessageCompleted {
            turn,
            item: self.ids.make(ItemId::new),
            role: Role::Assistant,
            parts,
            stop_reason: Some(stop_reason),
            input: None,
            partial: false,
        }));
    }

    /// The open turn, begun if there is none.
    fn start(&self, written: &mut Written) -> TurnId {
        if let Some((turn, _)) = written.turn {
            return turn;
        }
        let turn = self.ids.make(TurnId::new);
        written.turn = Some((turn, StopReason::EndTurn));
        written.events.push(Event::TurnStarted(TurnStarted {
            turn,
            inputs: std::mem::take(&mut written.inputs),
            agent: self.agent.clone(),
            attempt: 1,
            fence: self.fence.0,
        }));
        turn
    }
}

fn end(written: &mut Written) {
    if let Some((turn, stop_reason)) = written.turn.take() {
        let usage = UsageTotal::default();
        written.events.push(Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason }));
    }
}
