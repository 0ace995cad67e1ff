//! Calls of a session's turn that other agents are at work on, each in a session of its own: a fold of the log, the
//! decision to hand one on, and the waiting for what comes back.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use moongate_protocol::{
    Allowance, CallId, DelegationFinished, DelegationStarted, Event, InputId, Part, Principal, SessionId,
    Terms, ToolFinished, ToolOutcome, UsageTotal,
};
use tokio::time::Instant;

use super::{
    actor::{Actor, Stop},
    decide::Context,
    parked::NOT_STARTED,
    state::{OpenTurn, State},
};
use crate::{
    Agent, Gateway,
    child::{self, Child, Returned},
    limits::CHILD_GRACE,
    spend::Spender,
    turn::{Verdict, Wish, shown},
};

/// What was handed to other agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delegations {
    /// By the calls of the open turn that wait.
    open: BTreeMap<CallId, DelegationStarted>,
    /// How many the open turn began.
    begun: usize,
    /// Every session that was begun.
    children: Vec<SessionId>,
}

impl Delegations {
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::DelegationStarted(started) => {
                self.begun += 1;
                self.children.push(started.child);
                self.open.insert(started.call.clone(), started.clone());
            }
            Event::DelegationFinished(finished) => {
                self.open.remove(&finished.call);
            }
            Event::TurnStarted(_) => (self.open, self.begun) = (BTreeMap::new(), 0),
            Event::SessionForked(_) => *self = Self::default(),
            event if event.ends_turn().is_some() => self.open.clear(),
            _ => {}
        }
    }

    /// What other agents are at work on.
    pub(super) fn open(&self) -> impl Iterator<Item = &DelegationStarted> {
        self.open.values()
    }

    /// Whether another agent is at work on a call.
    pub(super) fn awaits(&self, call: &CallId) -> bool {
        self.open.contains_key(call)
    }
}

/// Decides whether a call may be handed on.
///
/// # Errors
/// What the model is told where it may not.
fn hand_on(state: &State, wish: &Wish, context: &Context<'_>) -> Result<DelegationStarted, String> {
    let Some(turn) = &state.turn else { return Err(NOT_STARTED.into()) };
    let to = &wish.errand.agent;
    let agents = &context.catalog.agents;
    let from = agents.get(&turn.agent.agent).filter(|from| from.delegates.contains(to));
    let Some((from, agent)) = from.zip(agents.get(to)) else {
        return Err(format!("There is no agent named {to} that a task can be handed to."));
    };
    if !turn.agents.is_empty() && !turn.agents.contains(to) {
        return Err(format!("The agent {to} may not be used here."));
    }
    let mut chain = state.terms.as_ref().map(|terms| terms.chain.clone()).unwrap_or_default();
    chain.push(turn.agent.agent.clone());
    if chain.contains(to) {
        return Err(format!("The agent {to} handed this task on itself: it does not get it back."));
    }
    let (deepest, most) = (context.limits.delegation_depth, context.limits.delegations_per_turn);
    if chain.len() > deepest {
        return Err(format!("A task is handed on {deepest} times at most."));
    }
    if state.delegations.begun >= most {
        return Err(format!("A turn hands on {most} tasks at most."));
    }
    let terms = Terms { chain, policy: state.policy(from), spend: left(state, turn, from, context) };
    Ok(DelegationStarted {
        turn: turn.id,
        call: wish.call.clone(),
        item: wish.item,
        child: context.ids.make(SessionId::new),
        input: context.ids.make(InputId::new),
        agent: to.clone(),
        model: agent.model.clone(),
        task: wish.errand.task.clone(),
        terms,
    })
}

/// What the turn has left to spend.
fn left(state: &State, turn: &OpenTurn, agent: &Agent, context: &Context<'_>) -> Allowance {
    let given = state.terms.as_ref().map(|terms| terms.spend).unwrap_or_default();
    let spender = Spender {
        author: &turn.author,
        namespace: &state.view().namespace,
        agent: &agent.name,
        own: &agent.spend,
        given: &given,
    };
    context.catalog.spending.left(spender, state.spent())
}

type Wait = Pin<Box<dyn Future<Output = (CallId, Returned)> + Send>>;

/// The sessions that are waited for. Nobody ever waits for the lock: it only lets the actor be lent out.
#[derive(Default)]
pub(super) struct Children(Mutex<FuturesUnordered<Wait>>);

impl Children {
    fn waits(&mut self) -> &mut FuturesUnordered<Wait> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any is.
    pub(super) fn are_awaited(&mut self) -> bool {
        !self.waits().is_empty()
    }

    /// What comes back next; never, when nothing is waited for. Cancel-safe.
    pub(super) async fn next(&mut self) -> (CallId, Returned) {
        match self.waits().next().await {
            Some(returned) => returned,
            None => std::future::pending().await,
        }
    }
}

impl Actor {
    /// Hands a call to another agent, if it may be.
    pub(super) async fn delegate(&mut self, wish: Wish, mut events: Vec<Event>) -> Result<Verdict, Stop> {
        let by = self.log.state.view().owner.clone();
        let started = match self.log.decide(&by, |state, context| hand_on(state, &wish, context)) {
            Ok(started) => started,
            Err(why) => return Ok(Verdict::NotHandedOn(why)),
        };
        events.push(Event::DelegationStarted(started.clone()));
        self.log.write(events).await?;
        self.wait_for(started);
        Ok(Verdict::HandedOn)
    }

    /// Waits, after a restart, for what was handed on before.
    pub(super) fn mind_children(&mut self) {
        let open: Vec<_> = self.log.state.delegations.open().cloned().collect();
        open.into_iter().for_each(|started| self.wait_for(started));
    }

    fn wait_for(&mut self, started: DelegationStarted) {
        let Some(turn) = &self.log.state.turn else { return };
        let call = started.call.clone();
        let child = Child {
            gateway: self.gateway(),
            from: Arc::clone(&self.slot),
            started,
            author: turn.author.clone(),
            agents: turn.agents.clone(),
            approval_secs: turn.overrides.approval_secs,
        };
        self.children.waits().push(Box::pin(async move { (call, child.run().await) }));
    }

    /// Another agent is done: the call has its result, and the turn goes on if nothing else holds it up.
    pub(super) async fn take_back(&mut self, call: CallId, returned: Returned) -> Result<(), Stop> {
        let Some(started) = self.log.state.delegations.open.get(&call).cloned() else { return Ok(()) };
        let events = self.ended(&started, returned).into();
        self.log.write(events).await?;
        self.go_on_decided();
        Ok(())
    }

    /// Stops what other agents do for a turn that ends, and what is written about it.
    pub(super) async fn call_back(&mut self, by: &Principal) -> Vec<Event> {
        let open: Vec<_> = self.log.state.delegations.open().cloned().collect();
        if open.is_empty() {
            return Vec::new();
        }
        let (gateway, deadline) = (self.gateway(), Instant::now() + CHILD_GRACE);
        join_all(open.iter().map(|started| child::stop(&gateway, &self.slot, started.child, by))).await;
        let mut back = BTreeMap::new();
        while back.len() < open.len()
            && let Ok((call, returned)) = tokio::time::timeout_at(deadline, self.children.next()).await
        {
            back.insert(call, returned);
        }
        self.children = Children::default();
        let unknown = || Returned {
            outcome: ToolOutcome::Cancelled,
            text: "The call was stopped.".into(),
            usage: UsageTotal::default(),
        };
        let ended = |started: &DelegationStarted| {
            let returned = back.remove(&started.call).unwrap_or_else(unknown);
            self.ended(started, returned)
        };
        open.iter().flat_map(ended).collect()
    }

    /// Deletes every session that was begun for this one.
    pub(super) async fn delete_children(&mut self, by: &Principal) {
        self.children = Children::default();
        let gateway = self.gateway();
        let children = &self.log.state.delegations.children;
        join_all(children.iter().map(|child| child::delete(&gateway, &self.slot, *child, by))).await;
    }

    fn gateway(&self) -> Gateway {
        Gateway { shared: Arc::clone(&self.shared) }
    }

    fn ended(&self, started: &DelegationStarted, returned: Returned) -> [Event; 2] {
        let (turn, call) = (started.turn, started.call.clone());
        let (child, usage) = (started.child, returned.usage);
        let finished = DelegationFinished { turn, call: call.clone(), child, usage };
        let (content, truncated) = shown(vec![Part::text(returned.text)], None);
        // The session's id was made when the call was handed on.
        let took = self.shared.ids.now().since(child.at());
        let result = ToolFinished {
            turn,
            item: started.item,
            call,
            outcome: returned.outcome,
            content,
            data: None,
            truncated,
            output: None,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        [Event::DelegationFinished(finished), Event::ToolFinished(result)]
    }
}
