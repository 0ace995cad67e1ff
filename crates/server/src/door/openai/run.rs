//! A request becomes an input: of a session that is kept, or of one that is not.

use moongate_core::{Accepted, Beginning, Ephemeral, Follower, Frame, Gateway, NewSession, SessionHandle};
use moongate_protocol::{ErrorCode, NewInput};
use tokio::task::yield_now;

use super::{
    DOOR, Openai,
    conversation::Conversation,
    failure::{Fault, Reply},
    models::Choice,
};
use crate::{
    caller::Authenticated,
    door::shared::Door,
    life::{Life, Sign},
    reply::Failure,
};

/// A turn that was asked for, and how it is watched.
pub(super) struct Run {
    pub(super) session: SessionHandle,
    pub(super) accepted: Accepted,
    pub(super) source: Source,
}

/// Where a turn is watched from.
pub(super) struct Source {
    pub(super) follower: Follower,
    /// The session, where it lives only as long as somebody watches.
    pub(super) held: Option<Held>,
}

/// A session that is not kept, by those who hold it.
pub(super) type Held = std::sync::Arc<Ephemeral>;

/// A fold of a turn's frames.
pub(super) trait Fold {
    /// Takes a frame; says whether the turn is over.
    fn take(&mut self, frame: &Frame) -> bool;
}

impl Source {
    /// Waits for the next frames.
    ///
    /// # Errors
    /// When the log cannot be read, or the session broke down.
    pub(super) async fn next(&mut self, frames: &mut Vec<std::sync::Arc<Frame>>) -> Reply<()> {
        let Some(held) = &self.held else { return Ok(self.follower.next(frames).await?) };
        tokio::select! {
            biased;
            next = self.follower.next(frames) => Ok(next?),
            () = held.broken() => {
                Err(Failure::new(ErrorCode::Unavailable, "the server cannot go on with this request").into())
            }
        }
    }
}

/// A session that is not kept, with what was said before.
pub(super) async fn fleeting(
    gateway: &Gateway,
    caller: &Authenticated,
    choice: &Choice,
    conversation: &mut Conversation,
) -> Reply<Held> {
    Ok(gateway.ephemeral(caller, DOOR, beginning(choice, conversation)).await?.into())
}

/// How a session begins that holds what was said before.
pub(super) fn beginning(choice: &Choice, conversation: &mut Conversation) -> Beginning {
    Beginning {
        new: NewSession { agent: choice.agent.clone(), ..NewSession::default() },
        history: std::mem::take(&mut conversation.history),
        attachments: std::mem::take(&mut conversation.attachments),
    }
}

/// Says something and watches its turn from the first event on.
pub(super) async fn submit(session: SessionHandle, held: Option<Held>, input: NewInput) -> Reply<Run> {
    let follower = session.follow_live();
    let accepted = session.submit(input).await?;
    // The turn's task runs first: what it has to say already leaves with the reply's head.
    yield_now().await;
    Ok(Run { session, accepted, source: Source { follower, held } })
}

/// Watches a turn to its end.
///
/// # Errors
/// When it cannot be watched any more: the credential is no longer valid, or the server stops.
pub(super) async fn finish(
    door: &Door<Openai>,
    caller: Authenticated,
    mut source: Source,
    fold: &mut impl Fold,
) -> Reply<()> {
    let mut life = Life::of_sse(door.app(), caller);
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = source.next(&mut frames) => {
                let over = frames.drain(..).any(|frame| fold.take(&frame));
                if over {
                    return Ok(());
                }
                next?;
            }
            sign = life.sign() => if sign == Sign::Over {
                return Err(gone(&life));
            },
        }
    }
}

/// Why somebody is not served to the end.
pub(super) fn gone(life: &Life) -> Fault {
    if life.is_revoked() {
        return Failure::new(ErrorCode::Unauthorized, "the key is no longer valid").into();
    }
    Failure::new(ErrorCode::Unavailable, "the server is going away; try again soon").into()
}
