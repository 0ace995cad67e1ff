//! The fold of a log that lists and clients are shown: pure, and the same live, after a restart and when a
//! store builds its rows anew.

use std::collections::BTreeSet;

use moongate_protocol::{
    ApprovalId, Envelope, Event, InputAccepted, InputId, MessageCompleted, Overlap, Part, QuestionId,
    QueuedInput, Role, SessionCreated, SessionForked, SessionRules, SessionState, SessionSums,
    SessionUpdated, SessionView, TurnId, UsageTotal,
};

/// How much of the first input becomes the title of a session that was given none, in characters.
const TITLE_CHARS: usize = 80;

/// What a session's log says so far, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    view: SessionView,
    approvals: BTreeSet<ApprovalId>,
    questions: BTreeSet<QuestionId>,
    /// The open turn said something.
    has_answered: bool,
}

impl Summary {
    /// The summary of a log's first event; `None` unless that is `session.created`.
    pub fn begin(first: &Envelope) -> Option<Self> {
        let Event::SessionCreated(created) = &first.event else {
            return None;
        };
        let view = created_view(first, created);
        Some(Self { view, approvals: BTreeSet::new(), questions: BTreeSet::new(), has_answered: false })
    }

    /// The summary of a whole log, from its first event on; `None` unless it begins with `session.created`.
    pub fn fold<'a>(log: impl IntoIterator<Item = &'a Envelope>) -> Option<Self> {
        let mut log = log.into_iter();
        let mut summary = Self::begin(log.next()?)?;
        log.for_each(|envelope| summary.apply(envelope));
        Some(summary)
    }

    /// What clients are shown.
    pub fn view(&self) -> &SessionView {
        &self.view
    }

    /// The approvals nobody decided on yet.
    pub fn open_approvals(&self) -> &BTreeSet<ApprovalId> {
        &self.approvals
    }

    /// The questions nobody answered yet.
    pub fn open_questions(&self) -> &BTreeSet<QuestionId> {
        &self.questions
    }

    /// Takes the next event in. Events that a later version writes move the head and nothing else.
    pub fn apply(&mut self, envelope: &Envelope) {
        self.view.head = envelope.position();
        self.view.updated_at = envelope.at;
        match &envelope.event {
            Event::SessionUpdated(updated) => self.update(updated),
            Event::SessionForked(forked) => self.fork(envelope, forked),
            Event::InputAccepted(input) => self.enqueue(envelope, input),
            Event::InputWithdrawn(withdrawn) => self.dequeue(&[withdrawn.input]),
            Event::TurnStarted(started) => {
                self.take_up(&started.inputs);
                self.has_answered = false;
                self.run(started.turn);
            }
            Event::TurnResumed(resumed) => self.run(resumed.turn),
            Event::MessageCompleted(message) => {
                self.take_up(message.input.as_slice());
                self.has_answered |= says_something(message);
            }
            Event::ApprovalRequested(request) => {
                self.approvals.insert(request.approval);
            }
            Event::ApprovalResolved(resolved) => {
                self.approvals.remove(&resolved.approval);
            }
            Event::QuestionAsked(asked) => {
                self.questions.insert(asked.question);
            }
            Event::QuestionAnswered(answered) => {
                self.questions.remove(&answered.question);
            }
            Event::UsageRecorded(usage) => self.view.sums.usage.add_call(usage.tokens, usage.cost),
            Event::TurnCompleted(_) => self.end(true),
            Event::TurnFailed(_) | Event::TurnCancelled(_) => self.end(self.has_answered),
            Event::SessionDeleted(_) => {
                self.rest();
                self.view.queue.clear();
            }
            _ => {}
        }
        self.view.state = self.state();
    }

    fn state(&self) -> SessionState {
        match self.view.turn {
            None => SessionState::Idle,
            Some(_) if self.approvals.is_empty() && self.questions.is_empty() => SessionState::Running,
            Some(_) => SessionState::Waiting,
        }
    }

    fn update(&mut self, updated: &SessionUpdated) {
        let view = &mut self.view;
        if let Some(title) = &updated.title {
            view.title = Some(title.clone());
        }
        if let Some(metadata) = &updated.metadata {
            view.metadata.clone_from(metadata);
        }
        if let Some(archived) = updated.archived {
            view.archived = archived;
        }
        if let Some(agent) = &updated.agent {
            view.agent = agent.clone();
        }
        if let Some(policy) = updated.policy {
            view.rules.policy = Some(policy);
        }
        if let Some(auto_approve) = updated.auto_approve {
            view.rules.auto_approve = auto_approve;
        }
    }

    /// A fork takes the words along, not the work: what ran, waited, was paid for or was allowed without asking
    /// stays with the original.
    fn fork(&mut self, envelope: &Envelope, forked: &SessionForked) {
        self.rest();
        self.view.queue.clear();
        self.view.sums.usage = UsageTotal::default();
        self.view.owner = forked.by.clone();
        self.view.rules.auto_approve = false;
        self.view.created_at = envelope.at;
    }

    /// An interrupting input goes before all that do not interrupt, so that what a person said in a hurry
    /// still runs in the order it was said.
    fn enqueue(&mut self, envelope: &Envelope, input: &InputAccepted) {
        if self.view.title.is_none() {
            self.view.title = title_of(&input.parts);
        }
        let queue = &mut self.view.queue;
        let place = match input.overlap {
            Overlap::Interrupt => queue.iter().take_while(|q| q.overlap == Overlap::Interrupt).count(),
            _ => queue.len(),
        };
        let queued = QueuedInput {
            input: input.input,
            author: input.author.clone(),
            parts: input.parts.clone(),
            overlap: input.overlap,
            at: envelope.at,
        };
        queue.insert(place, queued);
    }

    /// A turn takes inputs: what they say belongs to the conversation now.
    fn take_up(&mut self, inputs: &[InputId]) {
        let waiting = self.view.queue.len();
        self.dequeue(inputs);
        self.count(waiting - self.view.queue.len());
    }

    /// The turn is over, with an answer or without.
    fn end(&mut self, with_answer: bool) {
        self.count(usize::from(with_answer));
        self.rest();
    }

    fn count(&mut self, messages: usize) {
        self.view.sums.messages = self.view.sums.messages.map(|known| known + messages as u64);
    }

    fn dequeue(&mut self, inputs: &[InputId]) {
        if !inputs.is_empty() {
            self.view.queue.retain(|queued| !inputs.contains(&queued.input));
        }
    }

    fn run(&mut self, turn: TurnId) {
        self.view.turn = Some(turn);
    }

    /// Nothing runs; what the turn still asked of people is void.
    fn rest(&mut self) {
        self.view.turn = None;
        self.approvals.clear();
        self.questions.clear();
    }
}

fn created_view(first: &Envelope, created: &SessionCreated) -> SessionView {
    SessionView {
        id: first.session,
        alias: created.alias.clone(),
        title: created.title.clone(),
        owner: created.owner.clone(),
        agent: created.agent.clone(),
        namespace: created.namespace.clone(),
        state: SessionState::Idle,
        turn: None,
        head: first.position(),
        queue: Vec::new(),
        created_at: first.at,
        updated_at: first.at,
        sums: SessionSums { usage: UsageTotal::default(), messages: Some(0) },
        metadata: created.metadata.clone(),
        archived: false,
        rules: SessionRules::default(),
        parent: created.parent.clone(),
    }
}

/// Whether it is a model's message with words.
fn says_something(message: &MessageCompleted) -> bool {
    let mut texts = message.parts.iter().filter_map(Part::as_text);
    message.input.is_none() && message.role == Role::Assistant && texts.any(|text| !text.is_empty())
}

/// The beginning of the words in `parts`, on one line; `None` when there are no words.
pub(crate) fn title_of(parts: &[Part]) -> Option<String> {
    let mut title = String::new();
    let texts = parts.iter().filter_map(Part::as_text);
    let mut left = TITLE_CHARS;
    for word in texts.flat_map(str::split_whitespace) {
        if !title.is_empty() && left > 0 {
            title.push(' ');
            left -= 1;
        }
        let taken = word.chars().take(left);
        title.extend(taken.clone());
        left -= taken.count();
        if left == 0 {
            break;
        }
    }
    title.truncate(title.trim_end().len());
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use moongate_protocol::{
        AgentSnapshot, ApprovalRequested, ApprovalResolved, Decision, Epoch, InputWithdrawn, MicroUsd, Seq,
        SessionId, Timestamp, Tokens, TurnCancelled, TurnStarted, UsageRecorded,
    };

    use super::*;

    struct Log(Summary, u64);

    impl Log {
        fn new() -> Self {
            let created = SessionCreated {
                owner: "bob".parse().unwrap(),
                namespace: "user:bob".parse().unwrap(),
                agent: "main".parse().unwrap(),
                alias: None,
                title: None,
                metadata: Default::default(),
                parent: None,
                terms: None,
            };
            Self(Summary::begin(&envelope(1, Event::SessionCreated(created))).unwrap(), 1)
        }

        fn push(&mut self, event: Event) -> &SessionView {
            self.1 += 1;
            self.0.apply(&envelope(self.1, event));
            self.0.view()
        }

        fn queue(&self) -> Vec<u128> {
            self.0.view().queue.iter().map(|q| q.input.bits()).collect()
        }
    }

    fn envelope(seq: u64, event: Event) -> Envelope {
        let at = Timestamp::from_millis(1_000 * i64::try_from(seq).unwrap());
        Envelope { epoch: Epoch(7), seq: Seq(seq), at, session: SessionId::from_bits(1), event }
    }

    fn input(id: u128, overlap: Overlap, text: &str) -> Event {
        Event::InputAccepted(InputAccepted {
            input: InputId::from_bits(id),
            author: "bob".parse().unwrap(),
            parts: vec![Part::text(text)],
            overlap,
            idempotency_key: None,
            overrides: Default::default(),
            client_tools: Vec::new(),
            metadata: Default::default(),
            agents: Vec::new(),
        })
    }

    fn start(turn: u128, inputs: &[u128]) -> Event {
        let model = "builtin/demo".parse().unwrap();
        Event::TurnStarted(TurnStarted {
            turn: TurnId::from_bits(turn),
            inputs: inputs.iter().copied().map(InputId::from_bits).collect(),
            agent: AgentSnapshot { agent: "main".parse().unwrap(), model, policy_hash: "0".into() },
            attempt: 1,
            fence: 1,
        })
    }

    fn steered(turn: u128, input: u128) -> Event {
        Event::MessageCompleted(MessageCompleted {
            turn: TurnId::from_bits(turn),
            item: moongate_protocol::ItemId::from_bits(1),
            role: Role::User,
            parts: vec![],
            stop_reason: None,
            input: Some(InputId::from_bits(input)),
            partial: false,
        })
    }

    fn ask(approval: u128) -> Event {
        Event::ApprovalRequested(ApprovalRequested {
            turn: TurnId::from_bits(1),
            approval: ApprovalId::from_bits(approval),
            call: "c1".parse().unwrap(),
            tool: "rm".parse().unwrap(),
            arguments: serde_json::Value::Null,
            requirement: Default::default(),
            plan: "rm".into(),
            preview: None,
            reason: "risky".into(),
            hash: "0".into(),
            expires_at: Timestamp::from_millis(9_999),
        })
    }

    fn resolve(approval: u128) -> Event {
        Event::ApprovalResolved(ApprovalResolved {
            turn: TurnId::from_bits(1),
            approval: ApprovalId::from_bits(approval),
            decision: Decision::Approve,
            arguments: None,
            hash: None,
            reason: None,
            by: "bob".parse().unwrap(),
            remember: None,
        })
    }

    fn cancel() -> Event {
        let by = "bob".parse().unwrap();
        let usage = UsageTotal::default();
        Event::TurnCancelled(TurnCancelled {
            turn: TurnId::from_bits(1),
            by,
            stopped: vec![],
            reason: Default::default(),
            usage,
        })
    }

    #[test]
    fn what_was_said_is_counted() {
        let answered = |turn: u128, text: &str| {
            Event::MessageCompleted(MessageCompleted {
                turn: TurnId::from_bits(turn),
                item: moongate_protocol::ItemId::from_bits(2),
                role: Role::Assistant,
                parts: vec![Part::text(text)],
                stop_reason: None,
                input: None,
                partial: true,
            })
        };
        let mut log = Log::new();
        assert_eq!(log.push(input(1, Overlap::Queue, "a")).sums.messages, Some(0), "it waits");
        assert_eq!(log.push(start(1, &[1])).sums.messages, Some(1));
        log.push(input(2, Overlap::Steer, "b"));
        assert_eq!(log.push(steered(1, 2)).sums.messages, Some(2));
        assert_eq!(log.push(cancel()).sums.messages, Some(2), "it said nothing");
        log.push(input(3, Overlap::Queue, "c"));
        log.push(input(4, Overlap::Queue, "d"));
        assert_eq!(log.push(start(1, &[3])).sums.messages, Some(3));
        log.push(answered(1, ""));
        log.push(answered(1, "half"));
        assert_eq!(log.push(answered(1, "more")).sums.messages, Some(3), "a turn has one answer");
        assert_eq!(log.push(cancel()).sums.messages, Some(4));
        let gone = InputWithdrawn { input: InputId::from_bits(4), by: "bob".parse().unwrap() };
        assert_eq!(log.push(Event::InputWithdrawn(gone)).sums.messages, Some(4));
    }

    #[test]
    fn inputs_wait_until_they_start_join_or_are_taken_back() {
        let mut log = Log::new();
        for id in 1..=4 {
            log.push(input(id, Overlap::Queue, "hi"));
        }
        log.push(input(5, Overlap::Interrupt, "stop"));
        log.push(input(6, Overlap::Interrupt, "no, wait"));
        assert_eq!(log.queue(), [5, 6, 1, 2, 3, 4]);
        let view = log.push(start(1, &[5, 6]));
        assert_eq!((view.state, view.turn), (SessionState::Running, Some(TurnId::from_bits(1))));
        log.push(steered(1, 2));
        let by = "bob".parse().unwrap();
        log.push(Event::InputWithdrawn(InputWithdrawn { input: InputId::from_bits(4), by }));
        assert_eq!(log.queue(), [1, 3]);
        let view = log.push(cancel());
        assert_eq!((view.state, view.turn, view.head.seq), (SessionState::Idle, None, Seq(11)));
        assert_eq!((view.created_at.as_millis(), view.updated_at.as_millis()), (1_000, 11_000));
    }

    #[test]
    fn a_turn_waits_while_anything_is_open_and_its_end_voids_the_rest() {
        let mut log = Log::new();
        log.push(start(1, &[]));
        assert_eq!(log.push(ask(1)).state, SessionState::Waiting);
        assert_eq!(log.push(ask(2)).state, SessionState::Waiting);
        assert_eq!(log.push(resolve(1)).state, SessionState::Waiting);
        assert_eq!(log.push(resolve(2)).state, SessionState::Running);
        log.push(ask(3));
        assert_eq!(log.push(cancel()).state, SessionState::Idle);
        assert!(log.0.open_approvals().is_empty());
        assert_eq!(log.push(start(1, &[])).state, SessionState::Running);
    }

    #[test]
    fn the_first_words_are_the_title_until_one_is_given() {
        let mut log = Log::new();
        let long = format!("  你好\n {}", "x".repeat(100));
        let view = log.push(input(1, Overlap::Queue, &long));
        assert_eq!(view.title.as_deref(), Some(format!("你好 {}", "x".repeat(77)).as_str()));
        assert_eq!(log.push(input(2, Overlap::Queue, "more")).title.as_ref().unwrap().chars().count(), 80);
        let updated = SessionUpdated {
            title: Some("mine".into()),
            metadata: None,
            archived: Some(true),
            agent: None,
            policy: None,
            auto_approve: None,
            by: "bob".parse().unwrap(),
        };
        let view = log.push(Event::SessionUpdated(updated));
        assert_eq!((view.title.as_deref(), view.archived), (Some("mine"), true));
    }

    #[test]
    fn a_fork_takes_the_words_along_but_not_the_work_or_the_bill() {
        let mut log = Log::new();
        log.push(input(1, Overlap::Queue, "hi"));
        log.push(start(1, &[]));
        let tokens = Tokens { input: 5, output: 3, ..Tokens::default() };
        let usage = UsageRecorded {
            turn: TurnId::from_bits(1),
            model: "builtin/demo".parse().unwrap(),
            tokens,
            cost: Some(MicroUsd(2)),
            price_source: None,
            author: None,
            agent: None,
        };
        assert_eq!(log.push(Event::UsageRecorded(usage)).sums.usage.cost, Some(MicroUsd(2)));
        let from = SessionId::from_bits(2);
        let view =
            log.push(Event::SessionForked(SessionForked { from, at: Seq(4), by: "eve".parse().unwrap() }));
        assert_eq!(
            (view.state, view.queue.len(), view.sums.usage),
            (SessionState::Idle, 0, UsageTotal::default())
        );
        assert_eq!((view.owner.as_str(), view.title.as_deref()), ("eve", Some("hi")));
    }
}
