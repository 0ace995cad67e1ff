//! How a session's log begins: new, as a fork of another, or from an export.

use std::sync::Arc;

use moongate_protocol::{
    AgentName, Envelope, ErrorCode, Event, Position, Seq, SessionCreated, SessionForked, SessionId,
    SessionUpdated, SessionView, Tenant, Timestamp,
};

use crate::{
    Append, Beginning, Caller, Created, Gateway, NewSession, Record, Refusal, Scope, SessionHandle,
    SessionRow, StoreError, Summary,
    caller::of_its_namespace,
    gateway::{forbidden, own_namespace},
    history,
    limits::READ_BATCH,
    session::{Identity, Place, check_metadata, check_title},
};

/// A new session with everything decided.
pub(crate) struct Plan {
    created: SessionCreated,
}

/// Most events an import or a fork may have: they are one transaction.
const BIRTH_EVENTS: usize = 200_000;

pub(crate) async fn create(
    gateway: &Gateway,
    caller: &Caller,
    door: &str,
    plan: Plan,
) -> Result<Created, Refusal> {
    let events = vec![(None, Event::SessionCreated(plan.created))];
    let birth = Birth::of(gateway, caller, door, events);
    found(gateway, caller, birth.begin(gateway, gateway.kept()).await).await
}

/// Begins a session with what was said before.
pub(crate) async fn begin_with(
    gateway: &Gateway,
    caller: &Caller,
    door: &str,
    beginning: Beginning,
    place: Place,
) -> Result<Created, Refusal> {
    history::check(&beginning.history)?;
    let plan = gateway.plan(caller, beginning.new)?;
    for bytes in beginning.attachments {
        place.store.put_blob(bytes).await?;
    }
    let catalog = gateway.catalog();
    let agent = catalog.agent(&plan.created.agent)?;
    let agent = agent.snapshot(None, agent.policy, &catalog.policy_rules);
    let (ids, by, fence) = (gateway.ids(), caller.principal(), place.store.fence());
    let said = history::Writer { ids, by, agent, fence }.write(beginning.history);
    let created = Event::SessionCreated(plan.created);
    let events = std::iter::once(created).chain(said).map(|event| (None, event)).collect();
    let birth = Birth::of(gateway, caller, door, events);
    found(gateway, caller, birth.begin(gateway, place).await).await
}

/// The session that was begun, or the one that has its alias.
async fn found(
    gateway: &Gateway,
    caller: &Caller,
    begun: Result<SessionView, StoreError>,
) -> Result<Created, Refusal> {
    match begun {
        Ok(view) => Ok(Created { view, existed: false }),
        Err(StoreError::AliasTaken(id)) => {
            let view = gateway.session(caller, id).await?.view().await?;
            Ok(Created { view, existed: true })
        }
        Err(error) => Err(error.into()),
    }
}

/// A log's first events.
pub(crate) struct Birth {
    pub(crate) session: SessionId,
    pub(crate) tenant: Tenant,
    pub(crate) door: Arc<str>,
    /// With their times, where they are older than the log.
    pub(crate) events: Vec<(Option<Timestamp>, Event)>,
}

impl Birth {
    fn of(gateway: &Gateway, caller: &Caller, door: &str, events: Vec<(Option<Timestamp>, Event)>) -> Self {
        let session = gateway.ids().make(SessionId::new);
        Self { session, tenant: caller.tenant().clone(), door: door.into(), events }
    }

    /// Writes the events and opens the session's slot.
    pub(crate) async fn begin(self, gateway: &Gateway, place: Place) -> Result<SessionView, StoreError> {
        let Self { session, tenant, door, events } = self;
        let (epoch, now) = (gateway.ids().epoch(), gateway.ids().now());
        let mut seq = Seq::ZERO;
        let envelopes: Vec<_> = events
            .into_iter()
            .map(|(at, event)| {
                seq = seq.next();
                Envelope { epoch, seq, at: at.unwrap_or(now), session, event }
            })
            .collect();
        let damaged = || StoreError::Damaged("a log begins with session.created".into());
        let view = Summary::fold(&envelopes).ok_or_else(damaged)?.view().clone();
        let identity = Identity {
            tenant,
            owner: view.owner.clone(),
            namespace: view.namespace.clone(),
            agent: view.agent.clone(),
            door: Arc::clone(&door),
        };
        let records: Vec<_> = envelopes.into_iter().map(|envelope| Arc::new(Record::new(envelope))).collect();
        let row = SessionRow { tenant: identity.tenant.clone(), door, view: view.clone() };
        let fence = place.store.fence();
        let append = Append { fence, expected: Seq::ZERO, records: records.clone(), row, idempotency: None };
        place.store.append(append).await?;
        let slot = gateway.slot(session, identity, Position { epoch, seq }, place);
        gateway.shared.activity.publish(slot.identity(), &records);
        gateway.shared.activity.births.notify_waiters();
        Ok(view)
    }
}

impl Gateway {
    /// A new session of the caller's whose log begins as another's up to `at` (all of it when absent).
    ///
    /// # Errors
    /// `invalid_position` when `at` is beyond the head.
    pub async fn fork(
        &self,
        caller: &Caller,
        from: &SessionHandle,
        at: Option<Seq>,
        title: Option<String>,
    ) -> Result<Created, Refusal> {
        self.fork_to(caller, from, at, title, self.kept()).await
    }

    pub(crate) async fn fork_to(
        &self,
        caller: &Caller,
        from: &SessionHandle,
        at: Option<Seq>,
        title: Option<String>,
        place: Place,
    ) -> Result<Created, Refusal> {
        check_title(title.as_ref())?;
        self.may_begin(caller)?;
        let head = from.head().seq;
        let at = at.unwrap_or(head);
        if at > head || at == Seq::ZERO {
            let message = format!("the log has events 1 to {head}");
            return Err(Refusal::new(ErrorCode::InvalidPosition, message));
        }
        let mut events: Vec<_> = events_to(from, at)
            .await?
            .into_iter()
            .map(|envelope| (Some(envelope.at), without_ties(envelope.event)))
            .collect();
        let by = caller.principal().clone();
        events.push((None, Event::SessionForked(SessionForked { from: from.id(), at, by: by.clone() })));
        if title.is_some() {
            let updated = SessionUpdated {
                title,
                metadata: None,
                archived: None,
                agent: None,
                policy: None,
                auto_approve: None,
                by,
            };
            events.push((None, Event::SessionUpdated(updated)));
        }
        let view = Birth::of(self, caller, "native", events).begin(self, place).await?;
        Ok(Created { view, existed: false })
    }

    /// A new session that begins with what was said before.
    ///
    /// # Errors
    /// As [`Gateway::create`].
    pub async fn create_with(
        &self,
        caller: &Caller,
        door: &str,
        beginning: Beginning,
    ) -> Result<Created, Refusal> {
        self.may_begin(caller)?;
        begin_with(self, caller, door, beginning, self.kept()).await
    }

    /// Decides everything about a new session.
    pub(crate) fn plan(&self, caller: &Caller, new: NewSession) -> Result<Plan, Refusal> {
        check_title(new.title.as_ref())?;
        check_metadata(&new.metadata)?;
        let catalog = self.catalog();
        let agent = new.agent.unwrap_or_else(|| catalog.default_agent.clone());
        catalog.agent(&agent)?;
        if !caller.may_use(&agent) {
            return Err(forbidden("this key may not use that agent"));
        }
        let namespace = new.namespace.unwrap_or_else(|| own_namespace(caller));
        if !caller.may_enter(&namespace) {
            return Err(forbidden("this key may not use that namespace"));
        }
        if new.shared && !caller.is_granted(&namespace) {
            return Err(forbidden("this key was not granted that namespace"));
        }
        let owner = if new.shared { of_its_namespace() } else { caller.principal().clone() };
        let (alias, title, metadata) = (new.alias, new.title, new.metadata);
        let (parent, terms) = (None, None);
        Ok(Plan {
            created: SessionCreated { owner, namespace, agent, alias, title, metadata, parent, terms },
        })
    }

    /// Whether the caller may begin sessions, and the server still takes them.
    pub(crate) fn may_begin(&self, caller: &Caller) -> Result<(), Refusal> {
        if !caller.may(Scope::SessionsWrite) {
            return Err(forbidden("this key lacks the scope sessions:write"));
        }
        if self.shared.shutdown.draining.is_cancelled() {
            return Err(crate::gateway::going_away());
        }
        Ok(())
    }

    /// A new session of the caller's from exported events, which become its own.
    ///
    /// # Errors
    /// `invalid_request` when the events are no log, `too_large` when a title, labels or the log are.
    pub async fn import(&self, caller: &Caller, log: Vec<Envelope>) -> Result<Created, Refusal> {
        self.may_begin(caller)?;
        let invalid = |message: &str| Refusal::new(ErrorCode::InvalidRequest, message);
        if log.len() > BIRTH_EVENTS {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("a log has at most {BIRTH_EVENTS} events"),
            ));
        }
        let gapless = log.iter().zip(1..).all(|(envelope, seq)| envelope.seq == Seq(seq));
        if !gapless || !matches!(log.first().map(|e| &e.event), Some(Event::SessionCreated(_))) {
            return Err(invalid("an export begins with session.created and has every event once, in order"));
        }
        log.iter().try_for_each(|envelope| check_bounds(&envelope.event))?;
        let (from, at) =
            log.last().map(|last| (last.session, last.seq)).ok_or_else(|| invalid("no events"))?;
        let catalog = self.catalog();
        let mut events: Vec<_> = log
            .into_iter()
            .map(|envelope| (Some(envelope.at), adopt(envelope.event, caller, &catalog)))
            .collect();
        let by = caller.principal().clone();
        events.push((None, Event::SessionForked(SessionForked { from, at, by })));
        let view = Birth::of(self, caller, "native", events).begin(self, self.kept()).await?;
        Ok(Created { view, existed: false })
    }
}

async fn events_to(from: &SessionHandle, at: Seq) -> Result<Vec<Envelope>, Refusal> {
    let mut events = Vec::new();
    let mut after = Seq::ZERO;
    while after < at {
        let records = from.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in records.iter().filter(|record| record.position().seq <= at) {
            let envelope = record.envelope().map_err(|e| StoreError::Damaged(e.to_string()))?;
            events.push(envelope.clone());
        }
        if events.len() > BIRTH_EVENTS {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("a fork has at most {BIRTH_EVENTS} events"),
            ));
        }
    }
    Ok(events)
}

/// What a list shows of a session keeps its bounds however the session came here.
fn check_bounds(event: &Event) -> Result<(), Refusal> {
    match event {
        Event::SessionCreated(created) => {
            check_title(created.title.as_ref())?;
            check_metadata(&created.metadata)
        }
        Event::SessionUpdated(updated) => {
            check_title(updated.title.as_ref())?;
            updated.metadata.as_ref().map_or(Ok(()), check_metadata)
        }
        Event::InputAccepted(accepted) => check_metadata(&accepted.metadata),
        _ => Ok(()),
    }
}

/// An alias names one session, and a call waits for one: a copy goes without.
fn without_ties(event: Event) -> Event {
    match event {
        Event::SessionCreated(created) => {
            Event::SessionCreated(SessionCreated { alias: None, parent: None, terms: None, ..created })
        }
        other => other,
    }
}

/// What came from elsewhere belongs to who brought it, and talks to an agent there is.
fn adopt(event: Event, caller: &Caller, catalog: &crate::Catalog) -> Event {
    match without_ties(event) {
        Event::SessionCreated(created) => {
            let known = catalog.agents.contains_key(&created.agent) && caller.may_use(&created.agent);
            let agent = if known { created.agent } else { catalog.default_agent.clone() };
            let namespace = match caller.may_enter(&created.namespace) {
                true => created.namespace,
                false => own_namespace(caller),
            };
            let owner = caller.principal().clone();
            Event::SessionCreated(SessionCreated { owner, agent, namespace, ..created })
        }
        // Bringing a log is no way to rights one does not have.
        Event::SessionUpdated(updated) => {
            let may_use = |agent: &AgentName| catalog.agents.contains_key(agent) && caller.may_use(agent);
            let agent = updated.agent.filter(may_use);
            let policy = updated.policy.filter(|_| caller.may(Scope::PolicyWrite));
            Event::SessionUpdated(SessionUpdated { agent, policy, ..updated })
        }
        other => other,
    }
}
