//! Writes one session's log as its actor would: rows are the fold of the events.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use moongate_core::{
    Append, Fence, IdempotencyRow, KeyPlace, Record, SessionRow, Store, StoreError, SubmissionKey, Summary,
};
use moongate_protocol::{Envelope, Epoch, Event, Position, Seq, SessionId, Tenant, Timestamp};

/// Makes ids and tenants of different cases, and of runs on one store, differ.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number no other caller in this process got.
pub fn unique() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A tenant of one's own.
pub fn tenant() -> Tenant {
    format!("tenant-{}", unique()).parse().unwrap()
}

/// One session's writer.
#[derive(Clone, Debug)]
pub struct Scribe {
    /// Whose session.
    pub tenant: Tenant,
    /// The door of its alias.
    pub door: &'static str,
    /// Its id.
    pub id: SessionId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The generation it writes with.
    pub fence: Fence,
    /// When the next event happens; each event moves it on by a second.
    pub now: Timestamp,
    /// The fold so far.
    pub summary: Option<Summary>,
    /// Everything written, as JSON.
    pub written: Vec<String>,
}

impl Scribe {
    /// A writer of a session nobody has begun yet.
    pub fn new(store: &dyn Store, tenant: &Tenant) -> Self {
        let number = unique();
        Self {
            tenant: tenant.clone(),
            door: "native",
            id: SessionId::new(Timestamp::from_millis(1_700_000_000_000), &random(number)),
            epoch: Epoch(0x00ab_0000 | u32::try_from(number & 0xffff).unwrap()),
            fence: store.fence(),
            now: Timestamp::from_millis(1_750_000_000_000 + i64::try_from(number).unwrap()),
            summary: None,
            written: Vec::new(),
        }
    }

    /// The last event written.
    pub fn head(&self) -> Seq {
        self.summary.as_ref().map_or(Seq::ZERO, |summary| summary.view().head.seq)
    }

    /// The row the session has.
    pub fn row(&self) -> SessionRow {
        let view = self.summary.as_ref().unwrap().view().clone();
        SessionRow { tenant: self.tenant.clone(), door: self.door.into(), view }
    }

    /// The append of these events, and the writer as it will be when it is done.
    pub fn plan(&self, events: Vec<Event>) -> (Append, Self) {
        let mut after = self.clone();
        let mut records = Vec::new();
        for event in events {
            let (epoch, session, at) = (self.epoch, self.id, after.now);
            after.now = at.plus(std::time::Duration::from_secs(1));
            let envelope = Envelope { epoch, seq: after.head().next(), at, session, event };
            match &mut after.summary {
                Some(summary) => summary.apply(&envelope),
                begun => *begun = Summary::begin(&envelope),
            }
            let record = Record::new(envelope);
            after.written.push(String::from_utf8(record.json().to_vec()).unwrap());
            records.push(Arc::new(record));
        }
        let (fence, expected, row) = (self.fence, self.head(), after.row());
        (Append { fence, expected, records, row, idempotency: None }, after)
    }

    /// Writes events; the writer stays where it is when they are refused.
    pub async fn try_write(&mut self, store: &dyn Store, events: Vec<Event>) -> Result<(), StoreError> {
        let (append, after) = self.plan(events);
        store.append(append).await?;
        *self = after;
        Ok(())
    }

    /// Writes events.
    pub async fn write(&mut self, store: &dyn Store, events: Vec<Event>) {
        self.try_write(store, events).await.unwrap();
    }

    /// Bob's name for a submission in the session.
    pub fn submission(&self, key: &str) -> SubmissionKey {
        let place = KeyPlace::Session(self.id);
        SubmissionKey { place, by: "bob".parse().unwrap(), key: key.parse().unwrap() }
    }

    /// Writes events with the idempotency row of the last one.
    pub async fn write_keyed(&mut self, store: &dyn Store, events: Vec<Event>, key: &str) -> IdempotencyRow {
        self.write_named(store, events, self.submission(key)).await.unwrap()
    }

    /// The same with any name; the writer stays where it is when they are refused.
    pub async fn write_named(
        &mut self,
        store: &dyn Store,
        events: Vec<Event>,
        name: SubmissionKey,
    ) -> Result<IdempotencyRow, StoreError> {
        let (mut append, after) = self.plan(events);
        let row = IdempotencyRow {
            name,
            session: self.id,
            body_hash: [7; 32],
            input: event::input_id(unique()),
            position: Position { epoch: self.epoch, seq: after.head() },
            queue_length: 3,
            at: self.now,
        };
        append.idempotency = Some(row.clone());
        store.append(append).await?;
        *self = after;
        Ok(row)
    }

    /// Begins the session and says one thing in it.
    pub async fn begin(&mut self, store: &dyn Store, text: &str) {
        self.write(store, vec![event::created(None, None), event::input(unique(), text)]).await;
    }

    /// Everything the store has of the session, as JSON.
    pub async fn read_all(&self, store: &dyn Store) -> Vec<String> {
        let records = store.read(self.id, Seq::ZERO, usize::MAX).await.unwrap();
        records.iter().map(|record| String::from_utf8(record.json().to_vec()).unwrap()).collect()
    }
}

fn random(number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Events in short.
pub mod event {
    use moongate_protocol::{
        AgentSnapshot, ApprovalId, ApprovalRequested, ApprovalResolved, Decision, Event, InputAccepted,
        InputId, ItemId, MessageCompleted, MicroUsd, Overlap, Part, Role, Seq, SessionCreated, SessionForked,
        SessionId, SessionUpdated, StopReason, Timestamp, Tokens, TurnCompleted, TurnId, TurnStarted,
        UsageRecorded, UsageTotal,
    };

    /// `session.created` by bob for agent `main`.
    pub fn created(title: Option<&str>, alias: Option<&str>) -> Event {
        created_by("bob", "user:bob", title, alias)
    }

    /// `session.created`.
    pub fn created_by(owner: &str, namespace: &str, title: Option<&str>, alias: Option<&str>) -> Event {
        Event::SessionCreated(SessionCreated {
            owner: owner.parse().unwrap(),
            namespace: namespace.parse().unwrap(),
            agent: "main".parse().unwrap(),
            alias: alias.map(|alias| alias.parse().unwrap()),
            title: title.map(str::to_owned),
            metadata: Default::default(),
            parent: None,
            terms: None,
        })
    }

    /// An input's id.
    pub fn input_id(number: u64) -> InputId {
        InputId::from_bits(u128::from(number))
    }

    /// `input.accepted`.
    pub fn input(number: u64, text: &str) -> Event {
        Event::InputAccepted(InputAccepted {
            input: input_id(number),
            author: "bob".parse().unwrap(),
            parts: vec![Part::text(text)],
            overlap: Overlap::Queue,
            idempotency_key: None,
            overrides: Default::default(),
            client_tools: Vec::new(),
            metadata: Default::default(),
            agents: Vec::new(),
        })
    }

    /// `turn.started` on these inputs.
    pub fn started(turn: u64, inputs: &[u64]) -> Event {
        let (agent, model) = ("main".parse().unwrap(), "builtin/demo".parse().unwrap());
        Event::TurnStarted(TurnStarted {
            turn: TurnId::from_bits(u128::from(turn)),
            inputs: inputs.iter().copied().map(input_id).collect(),
            agent: AgentSnapshot { agent, model, policy_hash: "0".into() },
            attempt: 1,
            fence: 1,
        })
    }

    /// The model's `message.completed`.
    pub fn said(turn: u64, text: &str) -> Event {
        Event::MessageCompleted(MessageCompleted {
            turn: TurnId::from_bits(u128::from(turn)),
            item: ItemId::from_bits(u128::from(turn)),
            role: Role::Assistant,
            parts: vec![Part::text(text)],
            stop_reason: Some(StopReason::EndTurn),
            input: None,
            partial: false,
        })
    }

    /// `usage.recorded`; the price is in millionths of a dollar.
    pub fn billed(turn: u64, model: &str, output: u64, cost: Option<u64>) -> Event {
        Event::UsageRecorded(UsageRecorded {
            turn: TurnId::from_bits(u128::from(turn)),
            model: model.parse().unwrap(),
            tokens: Tokens { input: 10, output, reasoning: 1, cache_read: 2, cache_write: 3 },
            cost: cost.map(MicroUsd),
            price_source: None,
            author: None,
            agent: None,
        })
    }

    /// `turn.completed`.
    pub fn ended(turn: u64) -> Event {
        let (turn, usage) = (TurnId::from_bits(u128::from(turn)), UsageTotal::default());
        Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason: StopReason::EndTurn })
    }

    /// A whole turn that answers one input.
    pub fn turn(turn: u64, input: u64, answer: &str) -> Vec<Event> {
        let billed = billed(turn, "builtin/demo", 5, Some(1));
        vec![started(turn, &[input]), said(turn, answer), billed, ended(turn)]
    }

    /// `approval.requested`.
    pub fn asks(turn: u64, approval: u64, expires_at: i64) -> Event {
        Event::ApprovalRequested(ApprovalRequested {
            turn: TurnId::from_bits(u128::from(turn)),
            approval: ApprovalId::from_bits(u128::from(approval)),
            call: "call_1".parse().unwrap(),
            tool: "run".parse().unwrap(),
            arguments: serde_json::json!({"it": 1}),
            requirement: moongate_protocol::Requirement::UnlessAutoApproved,
            plan: "run it".into(),
            preview: None,
            reason: "the policy asks".into(),
            hash: "0".into(),
            expires_at: Timestamp::from_millis(expires_at),
        })
    }

    /// `approval.resolved`.
    pub fn decides(turn: u64, approval: u64) -> Event {
        Event::ApprovalResolved(ApprovalResolved {
            turn: TurnId::from_bits(u128::from(turn)),
            approval: ApprovalId::from_bits(u128::from(approval)),
            decision: Decision::Approve,
            arguments: None,
            hash: None,
            reason: None,
            by: "bob".parse().unwrap(),
            remember: None,
        })
    }

    /// `session.updated`.
    pub fn updated(title: Option<&str>, archived: Option<bool>, agent: Option<&str>) -> Event {
        Event::SessionUpdated(SessionUpdated {
            title: title.map(str::to_owned),
            metadata: None,
            archived,
            agent: agent.map(|agent| agent.parse().unwrap()),
            policy: None,
            auto_approve: None,
            by: "bob".parse().unwrap(),
        })
    }

    /// `session.forked`.
    pub fn forked(from: SessionId, at: Seq) -> Event {
        Event::SessionForked(SessionForked { from, at, by: "bob".parse().unwrap() })
    }
}
