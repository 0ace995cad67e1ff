//! A session's log as its one writer holds it: the fold of everything written, and how more is written.

use std::sync::Arc;

use moongate_protocol::{Envelope, Event, Notice, Principal};

use super::{Identity, Slot, actor::Stop, audit, decide::Context, load::load, state::State};
use crate::{Append, Bill, BilledCall, Record, SessionRow, StoreError, UploadPlace, gateway::Shared};

pub(super) struct Log {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    /// The fold of the log, and of what is on its way to the disk.
    pub(super) state: State,
}

impl Log {
    /// Reads a log from the store.
    ///
    /// # Errors
    /// As [`load`].
    pub(super) async fn open(shared: Arc<Shared>, slot: Arc<Slot>) -> Result<Self, StoreError> {
        let state = load(&**slot.store(), slot.id()).await?;
        Ok(Self { shared, slot, state })
    }

    /// Lets a decision see what decisions may look at.
    pub(super) fn decide<T>(&self, by: &Principal, decide: impl FnOnce(&State, &Context<'_>) -> T) -> T {
        let (catalog, limits) = (self.shared.catalog(), self.shared.limits.get());
        let context = Context {
            ids: &self.shared.ids,
            limits: &limits,
            catalog: &catalog,
            fence: self.shared.store.fence(),
            by,
        };
        decide(&self.state, &context)
    }

    /// Numbers and encodes events and folds them in.
    pub(super) fn draft(&mut self, events: Vec<Event>) -> Append {
        let expected = self.state.head();
        // A wall clock that jumps back does not make an event older than the one before it.
        let at = self.shared.ids.now().max(self.state.view().updated_at);
        let mut seq = expected.seq;
        let records: Vec<_> = events
            .into_iter()
            .map(|event| {
                let event = attributed(event, &self.state);
                seq = seq.next();
                let envelope = Envelope { epoch: expected.epoch, seq, at, session: self.slot.id(), event };
                self.state.apply(&envelope);
                Arc::new(Record::new(envelope))
            })
            .collect();
        let fence = self.shared.store.fence();
        Append { fence, expected: expected.seq, records, row: self.row(), idempotency: None }
    }

    /// Adds events to a draft: they are written with it or not at all.
    pub(super) fn extend(&mut self, draft: &mut Append, events: Vec<Event>) {
        let more = self.draft(events);
        draft.records.extend(more.records);
        draft.row = more.row;
    }

    /// Writes a draft, then tells followers. The state is worth nothing when this fails.
    pub(super) async fn commit(&self, draft: Append) -> Result<(), Stop> {
        let records = draft.records.clone();
        let bills = bills(&draft);
        if bills.is_empty() {
            self.slot.store().append(draft).await.map_err(Stop::Failed)?;
        } else {
            let billing = self.shared.ledger.billing().await;
            self.slot.store().append(draft).await.map_err(Stop::Failed)?;
            billing.note(bills);
        }
        self.publish(&records);
        self.note(&records).await;
        Ok(())
    }

    /// Writes down what an operator may want to know later. What was done is done: a store that cannot write it is
    /// an error of its own.
    async fn note(&self, records: &[Arc<Record>]) {
        let tenant = &self.slot.identity().tenant;
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            let Some(entry) = audit::entry(envelope, &self.state, tenant) else { continue };
            if let Err(error) = self.shared.store.audit(entry).await {
                tracing::error!(session.id = %self.slot.id(), %error, "an audit entry could not be written");
            }
        }
    }

    fn publish(&self, records: &[Arc<Record>]) {
        self.slot.feed().publish(records);
        self.shared.activity.publish(self.slot.identity(), records);
    }

    /// Writes events.
    pub(super) async fn write(&mut self, events: Vec<Event>) -> Result<(), Stop> {
        let draft = self.draft(events);
        self.commit(draft).await
    }

    /// Removes the log from the store, then tells followers its last events.
    pub(super) async fn remove(&mut self, events: Vec<Event>) -> Result<(), StoreError> {
        let last = self.draft(events);
        self.slot.store().delete(self.slot.id(), last.fence).await?;
        self.publish(&last.records);
        self.forget_uploads().await;
        Ok(())
    }

    /// Removes the files that were sent for the session.
    async fn forget_uploads(&self) {
        let Some(alias) = self.state.view().alias.clone() else { return };
        let Identity { tenant, owner, door, .. } = self.slot.identity().clone();
        let place = UploadPlace { tenant, owner, door, alias };
        if let Err(error) = self.shared.store.uploads().forget(&place).await {
            tracing::warn!(session.id = %self.slot.id(), %error, "its files could not be removed");
        }
    }

    /// Tells followers which inputs wait.
    pub(super) fn show_queue(&self) {
        let (session, queue) = (self.slot.id(), self.state.queue().collect());
        self.slot.feed().notify(Notice::Queue { session, queue });
    }

    fn row(&self) -> SessionRow {
        let identity = self.slot.identity();
        let (tenant, door) = (identity.tenant.clone(), Arc::clone(&identity.door));
        SessionRow { tenant, door, view: self.state.view().clone() }
    }
}

/// The model calls of an append, as they are accounted for.
fn bills(append: &Append) -> Vec<Bill> {
    let events = append.records.iter().filter_map(|record| record.envelope().ok());
    let billed = events.filter_map(BilledCall::of);
    billed.map(|call| Bill::of(&append.row, &call)).collect()
}

/// A model call with who caused it, where that is not what the session's row says.
fn attributed(mut event: Event, state: &State) -> Event {
    if let (Event::UsageRecorded(usage), Some(turn)) = (&mut event, &state.turn) {
        let view = state.view();
        usage.author = (turn.author != view.owner).then(|| turn.author.clone());
        usage.agent = (turn.agent.agent != view.agent).then(|| turn.agent.agent.clone());
    }
    event
}
