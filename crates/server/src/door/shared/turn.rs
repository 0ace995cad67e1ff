//! One input's turn: submitted and followed from before its first event, watched to its end, taken back when it
//! does not begin in time.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use moongate_core::{Accepted, Follower, Frame, FrameBody, Refusal, SessionHandle, StoreError};
use moongate_protocol::{Event, InputId, NewInput, Position, Seq, TurnId};
use tokio::time::sleep;

/// Submits and follows: let in before the input, so that nothing of its turn is missed and nothing is read
/// from the store.
///
/// # Errors
/// As [`SessionHandle::submit`].
pub(crate) async fn followed(
    session: &SessionHandle,
    input: NewInput,
) -> Result<(Accepted, Follower), Refusal> {
    let follower = session.follow_live();
    let before = follower.head();
    let accepted = session.submit(input).await?;
    let at = accepted.position;
    if at.epoch == before.epoch && at.seq > before.seq {
        return Ok((accepted, follower));
    }
    // The same submission again: its turn began, and perhaps ended, before.
    let before = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
    Ok((accepted, session.follow(Some(before))))
}

/// Follows to the end of an input's turn, or of the input; shows every frame that is part of it.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn to_the_end(
    follower: &mut Follower,
    watch: &mut InputTurn,
    mut show: impl FnMut(&Arc<Frame>),
) -> Result<(), StoreError> {
    let mut frames = Vec::new();
    loop {
        follower.next(&mut frames).await?;
        for frame in frames.drain(..) {
            let relation = watch.relation(&frame);
            if relation != Relation::Foreign {
                show(&frame);
            }
            if relation == Relation::End {
                return Ok(());
            }
        }
    }
}

/// Takes an input back unless its turn begins within `patience`; whether it was taken back. Never both runs and is
/// taken back: the session decides.
pub(crate) async fn withdraw_unless_started(
    session: &SessionHandle,
    input: InputId,
    patience: Duration,
) -> bool {
    sleep(patience).await;
    session.withdraw(input).await.is_ok()
}

/// Inputs that are taken back unless their turns begin in time, as long as somebody waits for them.
#[derive(Default)]
pub(crate) struct Waits(FuturesUnordered<Wait>);

/// An input, and whether it was taken back.
type Wait = Pin<Box<dyn Future<Output = (InputId, bool)> + Send>>;

impl Waits {
    /// Gives an input `patience` to begin.
    pub(crate) fn add(&mut self, session: SessionHandle, input: InputId, patience: Duration) {
        self.0.push(Box::pin(async move {
            let withdrawn = withdraw_unless_started(&session, input, patience).await;
            (input, withdrawn)
        }));
    }

    /// The next input that was taken back; never, when none waits. Cancel-safe.
    pub(crate) async fn next(&mut self) -> InputId {
        loop {
            match self.0.next().await {
                Some((input, true)) => return input,
                Some((_, false)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Which turn an input set off, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputTurn {
    input: InputId,
    turn: Option<TurnId>,
}

/// What a frame is to an input's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// None.
    Foreign,
    /// A part of it.
    Part,
    /// Its end.
    End,
}

impl InputTurn {
    pub(crate) fn of(input: InputId) -> Self {
        Self { input, turn: None }
    }

    /// The input.
    pub(crate) fn input(&self) -> InputId {
        self.input
    }

    /// Its turn, once that is known.
    pub(crate) fn turn(&self) -> Option<TurnId> {
        self.turn
    }

    /// What the frame is to the turn.
    pub(crate) fn relation(&mut self, frame: &Frame) -> Relation {
        match &frame.body {
            FrameBody::Event(record) => match record.envelope() {
                Ok(envelope) => self.relation_to(&envelope.event),
                Err(_) => Relation::Foreign,
            },
            FrameBody::Delta(delta) if self.turn == Some(delta.turn) => Relation::Part,
            FrameBody::Notice(_) if self.turn.is_some() && frame.turn() == self.turn => Relation::Part,
            FrameBody::Delta(_) | FrameBody::Notice(_) | FrameBody::Reset(_) => Relation::Foreign,
        }
    }

    fn relation_to(&mut self, event: &Event) -> Relation {
        match event {
            Event::TurnStarted(started) if started.inputs.contains(&self.input) => {
                self.turn = Some(started.turn);
            }
            // An input that joined a running turn.
            Event::MessageCompleted(message) if message.input == Some(self.input) => {
                self.turn = Some(message.turn);
            }
            Event::InputWithdrawn(gone) if gone.input == self.input => return Relation::End,
            Event::SessionDeleted(_) => return Relation::End,
            _ => {}
        }
        match event.turn() {
            Some(turn) if self.turn == Some(turn) => match event.ends_turn() {
                Some(_) => Relation::End,
                None => Relation::Part,
            },
            _ => Relation::Foreign,
        }
    }
}
