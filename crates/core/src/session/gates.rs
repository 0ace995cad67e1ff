//! Inputs whose turns begin only while whoever sent them has a share of running turns left. Until then they wait in
//! the queue like any other.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use moongate_protocol::InputId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    actor::{Actor, Stop},
    decide::{Decision, TurnChange, start_next},
};

/// The shares of running turns of whoever sends an input.
pub type Gate = Arc<Semaphore>;

/// One share, given back when dropped.
pub(super) type Share = OwnedSemaphorePermit;

type Opening = Pin<Box<dyn Future<Output = Option<Share>> + Send + Sync>>;

/// The gates before a session's inputs. They are of this process: after a restart what waits begins without them.
#[derive(Default)]
pub(super) struct Gates {
    by_input: HashMap<InputId, Gate>,
    /// The share of the turn that begins next.
    taken: Option<(Gate, Share)>,
    /// The share the first input waits for.
    waiting: Option<(Gate, Opening)>,
}

impl Gates {
    /// Whether a turn behind this gate may begin now. If not, its share is waited for.
    fn admits(&mut self, gate: Option<Gate>) -> bool {
        let is_it = |known: &Gate| gate.as_ref().is_some_and(|gate| Arc::ptr_eq(known, gate));
        self.taken.take_if(|(known, _)| !is_it(known));
        self.waiting.take_if(|(known, _)| !is_it(known));
        let Some(gate) = gate else { return true };
        if self.taken.is_none() {
            self.taken = Arc::clone(&gate).try_acquire_owned().ok().map(|share| (Arc::clone(&gate), share));
        }
        if self.taken.is_some() {
            self.waiting = None;
            return true;
        }
        if self.waiting.is_none() {
            let shares = Arc::clone(&gate);
            self.waiting = Some((gate, Box::pin(async move { shares.acquire_owned().await.ok() })));
        }
        false
    }

    /// Whether the first input waits for its share.
    pub(super) fn are_closed(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits until the first input has its share; for ever, when it needs none. Cancel-safe.
    pub(super) async fn open(&mut self) {
        let Some((gate, opening)) = &mut self.waiting else { return std::future::pending().await };
        let share = opening.as_mut().await;
        self.taken = share.map(|share| (Arc::clone(gate), share));
        self.waiting = None;
    }

    /// The share of a turn that begins.
    pub(super) fn take(&mut self) -> Option<Share> {
        self.taken.take().map(|(_, share)| share)
    }
}

impl Actor {
    /// Lets a decided turn begin only if its gate does; else its input waits in the queue.
    pub(super) fn pass_gate(&mut self, decision: &mut Decision, gate: Option<Gate>) {
        if decision.change == TurnChange::Start && !self.gates.admits(gate.clone()) {
            decision.hold();
        }
        if decision.change != TurnChange::Start
            && let Some((input, gate)) = decision.input.zip(gate)
        {
            self.gates.by_input.insert(input, gate);
        }
    }

    /// Whether the first input that waits may begin its turn.
    pub(super) fn admits_next(&mut self) -> bool {
        let state = &self.log.state;
        self.gates.by_input.retain(|input, _| state.waiting.contains_key(input));
        let gate = state.queue().next().and_then(|input| self.gates.by_input.get(&input));
        self.gates.admits(gate.cloned())
    }

    /// Begins the turn of the first input that waits, if it may.
    pub(super) async fn start_waiting(&mut self) -> Result<(), Stop> {
        if self.shared.shutdown.draining.is_cancelled() || !self.admits_next() {
            return Ok(());
        }
        let by = self.log.state.view().owner.clone();
        let Some(event) = self.log.decide(&by, start_next) else { return Ok(()) };
        self.log.write(vec![event]).await?;
        self.begin_turn();
        Ok(())
    }

    /// Another input may be the first now.
    pub(super) async fn mind_gates(&mut self) -> Result<(), Stop> {
        if self.gates.are_closed() && self.log.state.turn.is_none() {
            return self.start_waiting().await;
        }
        Ok(())
    }
}
