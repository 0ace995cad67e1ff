//! One timer for all the waits of a call.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use moongate_core::Fault;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{config::Timeouts, fault::timeout};

/// How long to wait for the end of a stream whose answer is complete.
const END_WAIT: Duration = Duration::from_secs(5);

/// Room beyond the connector's own limit, so that the connector's more precise fault comes first.
const CONNECT_ROOM: Duration = Duration::from_secs(1);

/// Watches how long a call waits.
pub(crate) struct Watch {
    limits: Timeouts,
    wait: Wait,
    /// Since when the present wait lasts.
    since: Instant,
    begun: Instant,
    /// Bytes of the answer when it was last looked at.
    bytes: usize,
    /// Made at the first wait. Moved only when it fires too early: most waits end long before.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy)]
enum Wait {
    Connect,
    Header,
    Bytes,
    End,
}

impl Watch {
    pub(crate) fn new(limits: Timeouts) -> Self {
        let now = Instant::now();
        Self { limits, wait: Wait::Connect, since: now, begun: now, bytes: 0, timer: None }
    }

    pub(crate) fn begin_connect(&mut self) {
        self.begin(Wait::Connect);
    }

    pub(crate) fn begin_header(&mut self) {
        self.begin(Wait::Header);
    }

    pub(crate) fn begin_body(&mut self) {
        self.begin(Wait::Bytes);
    }

    /// So many bytes have arrived in all. Looked at before each wait, not at each arrival.
    pub(crate) fn saw_bytes(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.bytes = bytes;
            self.since = Instant::now();
        }
    }

    /// Nothing but the stream's end is missing.
    pub(crate) fn answer_is_complete(&mut self) {
        if !matches!(self.wait, Wait::End) {
            self.begin(Wait::End);
        }
    }

    /// Ready with the fault when the wait was too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let due = self.due();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                break;
            }
            timer.as_mut().reset(due);
        }
        Poll::Ready(self.fault())
    }

    fn begin(&mut self, wait: Wait) {
        self.wait = wait;
        self.since = Instant::now();
    }

    fn due(&self) -> Instant {
        let limit = match self.wait {
            Wait::Connect => self.limits.connect + CONNECT_ROOM,
            Wait::Header => self.limits.header,
            Wait::Bytes => self.limits.idle,
            Wait::End => END_WAIT,
        };
        (self.since + limit).min(self.begun + self.limits.total)
    }

    fn fault(&self) -> Fault {
        if Instant::now() >= self.begun + self.limits.total {
            return timeout("The provider's answer took too long in all.");
        }
        timeout(match self.wait {
            Wait::Connect => "The provider could not be reached in time.",
            Wait::Header => "The provider did not begin to answer in time.",
            Wait::Bytes | Wait::End => "The provider fell silent in the middle of its answer.",
        })
    }
}
