//! What an append leaves behind beside its events and its row: the same for every engine, live and when
//! everything derived is built anew.

use moongate_protocol::{
    AgentName, ApprovalId, Envelope, Event, InputId, MicroUsd, ModelName, Part, Principal, QuestionId, Seq,
    Timestamp, Tokens, TurnId,
};

use crate::{Append, AskChange, StoreError, TurnChange, TurnEnding, summary::title_of};

/// A billed model call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledCall {
    /// The event that says so.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Which model.
    pub model: ModelName,
    /// Its tokens.
    pub tokens: Tokens,
    /// Its price, where known.
    pub cost: Option<MicroUsd>,
    /// Who set it off, where that is not the session's owner.
    pub author: Option<Principal>,
    /// Which agent made it, where that is not the session's.
    pub agent: Option<AgentName>,
}

impl BilledCall {
    /// The call an event bills, where it bills one.
    pub fn of(envelope: &Envelope) -> Option<Self> {
        let Event::UsageRecorded(usage) = &envelope.event else { return None };
        Some(Self {
            seq: envelope.seq,
            at: envelope.at,
            model: usage.model.clone(),
            tokens: usage.tokens,
            cost: usage.cost,
            author: usage.author.clone(),
            agent: usage.agent.clone(),
        })
    }
}

/// What one append's events lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// Calls to account for.
    pub calls: Vec<BilledCall>,
    /// Changes of the open approvals, in order.
    pub approvals: Vec<AskChange<ApprovalId>>,
    /// Changes of the open questions, in order.
    pub questions: Vec<AskChange<QuestionId>>,
    /// Texts to find, by the event that holds them.
    pub texts: Vec<(Seq, String)>,
    /// The title a person gave last.
    pub title: Option<String>,
    /// Changes of the turns, in order.
    pub turns: Vec<TurnChange>,
    /// The inputs of the append.
    said: Vec<(InputId, Option<String>)>,
}

impl Derived {
    /// What the events of one append lead to. Events before a `session.forked` are another session's: they can
    /// be found here, but were paid and asked for there.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Envelope>) -> Self {
        let mut derived = Self::default();
        for envelope in events {
            derived.take(envelope);
        }
        derived
    }

    fn take(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::SessionCreated(created) => self.title.clone_from(&created.title),
            Event::SessionUpdated(updated) if updated.title.is_some() => {
                self.title.clone_from(&updated.title);
            }
            Event::SessionForked(_) => {
                self.calls.clear();
                self.approvals.clear();
                self.questions.clear();
                self.turns.clear();
            }
            Event::InputAccepted(input) => {
                self.take_text(envelope.seq, &input.parts);
                self.said.push((input.input, title_of(&input.parts)));
            }
            Event::TurnStarted(started) => {
                let said = self.said.iter().find(|(input, _)| started.inputs.contains(input));
                let name = said.map(|(_, name)| name.clone().unwrap_or_default());
                self.turns.push(TurnChange::Began {
                    turn: started.turn,
                    seq: envelope.seq,
                    at: envelope.at,
                    name,
                });
            }
            // A steering input's words are found where they were accepted.
            Event::MessageCompleted(message) if message.input.is_none() => {
                self.take_text(envelope.seq, &message.parts);
            }
            Event::UsageRecorded(_) => self.calls.extend(BilledCall::of(envelope)),
            Event::ApprovalRequested(request) => {
                let asked = AskChange::Open(request.approval, envelope.seq, request.expires_at);
                self.approvals.push(asked);
            }
            Event::ApprovalResolved(resolved) => {
                let decided = AskChange::Close(resolved.approval, envelope.seq, envelope.at);
                self.approvals.push(decided);
            }
            Event::QuestionAsked(asked) => {
                self.questions.push(AskChange::Open(asked.question, envelope.seq, asked.expires_at));
            }
            Event::QuestionAnswered(answered) => {
                self.questions.push(AskChange::Close(answered.question, envelope.seq, envelope.at));
            }
            Event::TurnCompleted(end) => self.end(end.turn, envelope, TurnEnding::Completed),
            Event::TurnFailed(end) => self.end(end.turn, envelope, TurnEnding::Failed),
            Event::TurnCancelled(end) => self.end(end.turn, envelope, TurnEnding::Cancelled),
            _ => {}
        }
    }

    fn end(&mut self, turn: TurnId, envelope: &Envelope, ending: TurnEnding) {
        self.approvals.push(AskChange::CloseAll(envelope.seq, envelope.at));
        self.questions.push(AskChange::CloseAll(envelope.seq, envelope.at));
        self.turns.push(TurnChange::Ended(turn, envelope.at, ending));
    }

    fn take_text(&mut self, seq: Seq, parts: &[Part]) {
        let mut texts = parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty());
        if let Some(first) = texts.next() {
            let mut text = first.to_owned();
            for more in texts {
                text.push('\n');
                text.push_str(more);
            }
            self.texts.push((seq, text));
        }
    }
}

impl Append {
    /// The typed events, when they are one session's next ones and the row is the row after them.
    ///
    /// # Errors
    /// `Engine` for what no correct writer asks: then nothing may be written.
    pub fn events(&self) -> Result<Vec<&Envelope>, StoreError> {
        let refuse = |why: &str| Err(StoreError::Engine(format!("an append was not well formed: {why}")));
        let head = self.row.view.head;
        if self.records.is_empty() || head.seq != self.expected.plus(self.records.len()) {
            return refuse("the row's head is not the last event");
        }
        let mut events = Vec::with_capacity(self.records.len());
        for (i, record) in self.records.iter().enumerate() {
            let Ok(event) = record.envelope() else { return refuse("an event cannot be read") };
            if event.seq != self.expected.plus(i + 1) || event.epoch != head.epoch {
                return refuse("its events do not follow each other");
            }
            if event.session != self.row.view.id {
                return refuse("its events are not the session's");
            }
            events.push(event);
        }
        Ok(events)
    }
}
