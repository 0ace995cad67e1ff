//! The task of a session's turn, as its actor holds it.

use std::sync::Arc;

use moongate_protocol::{CancelReason, Command, Principal, TurnId};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    actor::{Reply, Stop, refusal_for},
    gates::Share,
};
use crate::{limits::CANCEL_GRACE, turn::Report};

/// A turn's task.
pub(super) struct Running {
    pub(super) id: TurnId,
    pub(super) cancel: CancellationToken,
    pub(super) task: JoinHandle<()>,
    pub(super) reports: mpsc::Receiver<Report>,
    /// Tells the turn that somebody decided on one of its calls.
    pub(super) decided: Arc<Notify>,
    /// Who wants it stopped; the first counts.
    pub(super) cancelled_by: Option<Canceller>,
    /// Who is answered when it has stopped.
    pub(super) waiters: Vec<Reply>,
    /// When a turn that was told to stop is not waited for any more.
    pub(super) give_up: Option<Instant>,
    /// What it holds of the shares of whoever set it off.
    pub(super) share: Option<Share>,
}

/// Who stops a turn, and how it came to that.
pub(super) struct Canceller {
    pub(super) by: Principal,
    pub(super) reason: CancelReason,
}

impl Canceller {
    /// Who gave this command.
    pub(super) fn of(by: Principal, command: &Command) -> Self {
        let aborts = matches!(command, Command::Abort(_));
        Self { by, reason: if aborts { CancelReason::Abort } else { CancelReason::Cancel } }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
    }
}

impl Running {
    /// Tells the turn to stop.
    pub(super) fn stop(&mut self, by: Canceller) {
        self.cancelled_by.get_or_insert(by);
        self.give_up.get_or_insert_with(|| Instant::now() + CANCEL_GRACE);
        self.cancel.cancel();
    }
}

/// The running turn's next report; nothing ever when no turn runs.
pub(super) async fn hear_from(running: &mut Option<Running>) -> Option<Report> {
    match running {
        Some(running) => running.reports.recv().await,
        None => std::future::pending().await,
    }
}

/// Tells those who wait for a turn's end that it could not be written.
pub(super) fn refuse_waiters(ended: Option<Running>, stop: &Stop) {
    let (Some(mut ended), Stop::Failed(error)) = (ended, stop) else { return };
    for waiter in ended.waiters.drain(..) {
        // Whoever asked may have gone away.
        drop(waiter.send(Err(refusal_for(error))));
    }
}
