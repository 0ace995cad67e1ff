//! Waiting for one message's turn.

use std::time::Duration;

use moongate_core::FrameBody;
use moongate_protocol::Event;
use tokio::time::{Instant, timeout_at};

use super::{Oxios, chat::Put, turn::Turn};
use crate::{door::shared::Door, reply::Answer};

/// What became of a message.
pub(super) enum Waited {
    /// Its turn ended.
    Ended(Box<Turn>),
    /// It was taken back, or its session is gone.
    Withdrawn,
    /// Nobody waits any longer; the turn goes on.
    TooLong,
}

/// Waits for the end of a message's turn, as long as the door's settings say.
pub(super) async fn until_ended(door: &Door<Oxios>, put: &Put) -> Answer<Waited> {
    let due = Instant::now() + Duration::from_secs(door.settings.http_reply_timeout_secs);
    let mut follower = put.session.follow(Some(put.accepted.position));
    let mut turn: Option<Box<Turn>> = None;
    let mut frames = Vec::new();
    loop {
        frames.clear();
        match timeout_at(due, follower.next(&mut frames)).await {
            Err(_) => return Ok(Waited::TooLong),
            Ok(next) => next?,
        }
        for frame in &frames {
            let FrameBody::Event(record) = &frame.body else { continue };
            let Ok(envelope) = record.envelope() else { continue };
            match &envelope.event {
                Event::TurnStarted(started) if started.inputs.contains(&put.accepted.input) => {
                    turn = Some(Box::new(Turn::begin(started, envelope.at)));
                }
                Event::InputWithdrawn(gone) if gone.input == put.accepted.input => {
                    return Ok(Waited::Withdrawn);
                }
                Event::SessionDeleted(_) => return Ok(Waited::Withdrawn),
                event => {
                    let Some(running) = turn.as_mut() else { continue };
                    if event.turn() != Some(running.id) {
                        continue;
                    }
                    running.take(envelope);
                    if running.end.is_some() {
                        return Ok(turn.take().map_or(Waited::Withdrawn, Waited::Ended));
                    }
                }
            }
        }
    }
}
