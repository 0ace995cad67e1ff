//! One input's turn: submitted and followed from before its first event, watched to its end.

use moongate_core::{Accepted, Follower, Frame, FrameBody, Gate, Refusal, SessionHandle};
use moongate_protocol::{Event, InputId, NewInput, Position, Seq, TurnId};

/// Submits and follows: let in before the input, so that nothing of its turn is missed and nothing is read
/// from the store. Its turn begins behind the gate, where there is one.
///
/// # Errors
/// As [`SessionHandle::submit_behind`].
pub(crate) async fn followed(
    session: &SessionHandle,
    input: NewInput,
    gate: Option<Gate>,
) -> Result<(Accepted, Follower), Refusal> {
    let follower = session.follow_live();
    let before = follower.head();
    let accepted = session.submit_behind(input, gate).await?;
    let at = accepted.position;
    if at.epoch == before.epoch && at.seq > before.seq {
        return Ok((accepted, follower));
    }
    // The same submission again: its turn began, and perhaps ended, before.
    let before = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
    Ok((accepted, session.follow(Some(before))))
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
