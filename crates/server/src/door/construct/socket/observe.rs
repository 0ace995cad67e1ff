//! What agents do in all other sessions of the client's: told to a socket that only watches.

use moongate_core::{ActivityFollower, Happening};

use super::Line;
use crate::caller::Authenticated;
use crate::door::{
    construct::{
        Construct,
        agents::{Agents, Said},
        frames::{AgentEvent, Frame, Word},
        names::Names,
    },
    shared::Door,
};

/// A socket's view of all its client's sessions.
pub(super) struct Observer {
    follower: ActivityFollower,
    names: Names,
    agents: Agents,
}

impl Observer {
    pub(super) fn new(door: &Door<Construct>, caller: &Authenticated) -> Self {
        let follower = door.app().gateway().follow_all(caller);
        Self { follower, names: Names::default(), agents: Agents::default() }
    }
}

/// What happens next anywhere; never, for a socket that does not only watch. Cancel-safe.
pub(super) async fn watch(observer: &mut Option<Observer>) -> Happening {
    match observer {
        Some(observer) => observer.follower.next().await,
        None => std::future::pending().await,
    }
}

impl Line {
    pub(super) async fn observed(&mut self, happening: Happening) {
        let record = match happening {
            Happening::Event(record) => record,
            // What was missed is not told again: it passes.
            Happening::Missed(_) => return,
            Happening::Closed => {
                self.observer = None;
                return;
            }
        };
        let (caller, Ok(envelope)) = (self.socket.caller().clone(), record.envelope()) else { return };
        let Some(observer) = &mut self.observer else { return };
        let Some(named) = observer.names.of(&self.door, &caller, envelope.session).await else { return };
        // Its own session tells of itself.
        if named.id == self.chat.id.as_str() {
            return;
        }
        let session_id = named.id.to_owned();
        let news = observer.agents.take(envelope, named.agent).into_iter().filter_map(Said::news);
        for event in news {
            let event = AgentEvent { event, session_id: session_id.clone() };
            self.backlog.push(Frame::bare(Word::AgentEvent(Box::new(event))).into());
        }
    }
}
