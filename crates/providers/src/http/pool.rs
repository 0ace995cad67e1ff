//! Connections kept for the next call to the same endpoint.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::body::Incoming;
use tokio::time::Instant;

use super::Connection;

/// Most idle connections to one endpoint: each holds a file descriptor here and there.
const MAX_IDLE: usize = 256;

/// How long a connection waits for its next call; most servers close theirs after a minute or later.
const IDLE_EXPIRY: Duration = Duration::from_secs(55);

/// The idle connections of one endpoint.
#[derive(Default)]
pub(crate) struct Pool(Mutex<VecDeque<Idle>>);

struct Idle {
    connection: Connection,
    /// The last answer's end, which had not arrived when its meaning was complete.
    trailing: Option<Incoming>,
    since: Instant,
}

impl Pool {
    /// The connection used last that is still open.
    pub(crate) fn take(&self) -> Option<Connection> {
        loop {
            let mut idle = self.idle().pop_back()?;
            if idle.since.elapsed() < IDLE_EXPIRY && idle.connection.is_free(idle.trailing.as_mut()) {
                idle.connection.reused = true;
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection whose answer is complete; `trailing` is what was not read of it.
    pub(super) fn keep(&self, connection: Connection, trailing: Option<Incoming>) {
        let now = Instant::now();
        let mut idle = self.idle();
        while idle.front().is_some_and(|it| now - it.since >= IDLE_EXPIRY) || idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, trailing, since: now });
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
