//! What has happened since the start, in numbers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use moongate_protocol::{ErrorCode, Event, Role, Timestamp, ToolOutcome, TurnId};

use crate::Record;

/// Counters over all sessions of this process.
#[derive(Debug, Default)]
pub struct Totals {
    /// Inputs that were accepted.
    pub inputs: AtomicU64,
    /// Turns that began.
    pub turns_started: AtomicU64,
    /// Turns that ended well.
    pub turns_completed: AtomicU64,
    /// Turns that ended badly.
    pub turns_failed: AtomicU64,
    /// Turns that were stopped.
    pub turns_cancelled: AtomicU64,
    /// Milliseconds from their starts to their ends.
    pub turn_millis: AtomicU64,
    /// Answers of models.
    pub model_calls: AtomicU64,
    /// Model calls that failed their turn.
    pub model_errors: AtomicU64,
    /// Tool calls that ended.
    pub tool_calls: AtomicU64,
    /// Those that did not end well.
    pub tool_errors: AtomicU64,
    /// Milliseconds tools ran.
    pub tool_millis: AtomicU64,
    /// When the running turns began.
    running: Mutex<HashMap<TurnId, Timestamp>>,
}

impl Totals {
    /// Counts what is on disk now.
    pub(crate) fn take(&self, records: &[Arc<Record>]) {
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            match &envelope.event {
                Event::InputAccepted(_) => add(&self.inputs, 1),
                Event::TurnStarted(started) => {
                    add(&self.turns_started, 1);
                    self.running().insert(started.turn, envelope.at);
                }
                Event::MessageCompleted(message) if message.role == Role::Assistant => {
                    add(&self.model_calls, 1);
                }
                Event::ToolFinished(finished) => {
                    add(&self.tool_calls, 1);
                    add(&self.tool_errors, u64::from(finished.outcome != ToolOutcome::Ok));
                    add(&self.tool_millis, finished.duration_ms);
                }
                Event::TurnCompleted(end) => self.end(&self.turns_completed, end.turn, envelope.at),
                Event::TurnCancelled(end) => self.end(&self.turns_cancelled, end.turn, envelope.at),
                Event::TurnFailed(end) => {
                    self.end(&self.turns_failed, end.turn, envelope.at);
                    add(&self.model_errors, u64::from(is_models(end.code)));
                }
                _ => {}
            }
        }
    }

    fn end(&self, counter: &AtomicU64, turn: TurnId, at: Timestamp) {
        add(counter, 1);
        if let Some(began) = self.running().remove(&turn) {
            add(&self.turn_millis, u64::try_from(at.since(began).as_millis()).unwrap_or(0));
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<TurnId, Timestamp>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

fn is_models(code: ErrorCode) -> bool {
    use ErrorCode as E;
    matches!(
        code,
        E::ProviderAuth
            | E::ProviderRejected
            | E::ProviderRateLimited
            | E::ProviderOverloaded
            | E::ProviderUnreachable
            | E::ProviderTimeout
            | E::ProviderCut
            | E::ProviderProtocol
    )
}
