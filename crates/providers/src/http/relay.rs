//! Wakes the reading task only when it sleeps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// A connection, its answer and its body are polled by one task and wake each other all the time: every token
/// handed from one to the other would wake the task that is just running. While it runs, a wake-up only says
/// that it should look once more.
#[derive(Default)]
pub(super) struct Relay {
    task: AtomicWaker,
    asleep: AtomicBool,
    again: AtomicBool,
}

impl Relay {
    /// Polls until nothing more can be done without news from outside.
    pub(super) fn run<T>(
        self: &Arc<Self>,
        own: &Waker,
        outer: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.asleep.store(false, SeqCst);
        self.task.register(outer.waker());
        let mut context = Context::from_waker(own);
        loop {
            self.again.store(false, SeqCst);
            if let Poll::Ready(value) = poll(&mut context) {
                return Poll::Ready(value);
            }
            if self.again.load(SeqCst) {
                continue;
            }
            self.asleep.store(true, SeqCst);
            // News may have come between the two looks.
            if !self.again.load(SeqCst) {
                return Poll::Pending;
            }
            self.asleep.store(false, SeqCst);
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst) {
            self.task.wake();
        }
    }
}
