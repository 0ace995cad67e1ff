//! The sessions that agents begin for the sessions a socket follows, and for those in turn.

use std::{collections::VecDeque, mem, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use moongate_core::{Follower, Frame, FrameBody, Gateway};
use moongate_protocol::{DelegationStarted, Envelope, Event, SessionId};
use tokio::time::timeout;

use crate::caller::Authenticated;

/// Sessions of this kind that one socket follows at once; of more it is told only what their parents say.
const FOLLOWED: usize = 64;
/// How long a session that was written down may take to begin. One that takes longer is told of by its parent only.
const BEGINS: Duration = Duration::from_secs(30);
/// Sessions that are remembered, so that none is followed twice.
const REMEMBERED: usize = 1024;

/// What happened in one of them.
pub(crate) struct Tidings {
    /// The session at the top, which the socket follows itself.
    pub(crate) root: SessionId,
    /// How it was begun.
    pub(crate) child: Arc<DelegationStarted>,
    /// In order.
    pub(crate) events: Vec<Envelope>,
}

struct Relative {
    root: SessionId,
    child: Arc<DelegationStarted>,
    follower: Follower,
    frames: Vec<Arc<Frame>>,
}

type Step = Pin<Box<dyn Future<Output = Option<Relative>> + Send>>;

/// The sessions of this kind that are followed, each to the end of its task.
pub(crate) struct Kin {
    gateway: Gateway,
    caller: Authenticated,
    steps: FuturesUnordered<Step>,
    met: VecDeque<SessionId>,
}

impl Kin {
    pub(crate) fn new(gateway: Gateway, caller: Authenticated) -> Self {
        Self { gateway, caller, steps: FuturesUnordered::new(), met: VecDeque::new() }
    }

    /// Follows a session that is begun beneath `root`, unless it was followed before.
    pub(crate) fn meet(&mut self, root: SessionId, started: &DelegationStarted) {
        if self.met.contains(&started.child) || self.steps.len() >= FOLLOWED {
            return;
        }
        if self.met.len() >= REMEMBERED {
            self.met.pop_front();
        }
        self.met.push_back(started.child);
        let (gateway, caller, child) = (self.gateway.clone(), self.caller.clone(), Arc::new(started.clone()));
        self.steps.push(Box::pin(async move {
            // One that the caller may not see is none of its.
            let begun = timeout(BEGINS, gateway.begun(&caller, child.child)).await.ok()?.ok()?;
            let follower = begun.follow(None);
            follow(Relative { root, child, follower, frames: Vec::new() }).await
        }));
    }

    /// What happens next in any of them; never, when none is followed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Tidings {
        loop {
            let Some(step) = self.steps.next().await else { std::future::pending().await };
            let Some(mut relative) = step else { continue };
            let frames = mem::take(&mut relative.frames);
            let events: Vec<_> = frames.iter().filter_map(|frame| event(frame)).cloned().collect();
            let (root, child) = (relative.root, Arc::clone(&relative.child));
            for envelope in &events {
                if let Event::DelegationStarted(started) = &envelope.event {
                    self.meet(root, started);
                }
            }
            let is_over = |envelope: &Envelope| {
                envelope.event.ends_turn().is_some() || matches!(envelope.event, Event::SessionDeleted(_))
            };
            if !events.iter().any(is_over) {
                self.steps.push(Box::pin(follow(relative)));
            }
            if !events.is_empty() {
                return Tidings { root, child, events };
            }
        }
    }
}

/// Waits for more; one that cannot be read is not followed any more.
async fn follow(mut relative: Relative) -> Option<Relative> {
    relative.follower.next(&mut relative.frames).await.ok()?;
    Some(relative)
}

fn event(frame: &Frame) -> Option<&Envelope> {
    match &frame.body {
        FrameBody::Event(record) => record.envelope().ok(),
        _ => None,
    }
}
