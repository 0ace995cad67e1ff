//! One input's turn, step by step: the same steps whether it is watched live, replayed from the log, or resumed
//! in the middle.

use std::collections::HashMap;

use moongate_core::{Frame, FrameBody};
use moongate_protocol::{
    Delta, DeltaKind, Envelope, Event, InputAccepted, InputId, ItemId, MessageCompleted, Part, Role,
    Timestamp, TurnId, TurnStarted,
};

/// What happens in a turn, in an order that does not depend on when one looks: of each message its reasoning, its
/// text, then all the rest of it.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// The input was accepted.
    Accepted(&'a InputAccepted, Timestamp),
    /// Its turn began.
    Started(&'a TurnStarted),
    /// Its turn is tried again after a restart; what was not complete is written anew.
    Resumed(u32),
    /// More of a reasoning block.
    Reasoning(ItemId, &'a str),
    /// More of a message's text.
    Text(ItemId, &'a str),
    /// A message is complete; its reasoning and text were told before.
    Message(&'a MessageCompleted),
    /// The turn ended, or the input never gets one.
    End(&'a Event, Timestamp),
}

/// Watches one input's turn.
#[derive(Debug)]
pub(super) struct Watch {
    input: InputId,
    turn: Option<TurnId>,
    /// Characters told of items that are being written.
    told: HashMap<(ItemId, DeltaKind), usize>,
    /// Text of the message that is being written was told: reasoning that comes now has to wait until it is complete.
    speaks: bool,
}

impl Watch {
    pub(super) fn new(input: InputId) -> Self {
        Self { input, turn: None, told: HashMap::new(), speaks: false }
    }

    /// Its turn, once it began.
    pub(super) fn turn(&self) -> Option<TurnId> {
        self.turn
    }

    /// Takes the next frame of the session; says whether the turn is over.
    pub(super) fn take(&mut self, frame: &Frame, mut each: impl FnMut(&Step<'_>)) -> bool {
        match &frame.body {
            FrameBody::Event(record) => match record.envelope() {
                Ok(envelope) => self.event(envelope, &mut each),
                Err(_) => false,
            },
            FrameBody::Delta(delta) if self.turn == Some(delta.turn) => {
                self.delta(delta, &mut each);
                false
            }
            FrameBody::Delta(_) | FrameBody::Notice(_) | FrameBody::Reset(_) => false,
        }
    }

    /// Takes the next event of the session's log; says whether the turn is over.
    pub(super) fn event(&mut self, envelope: &Envelope, each: &mut impl FnMut(&Step<'_>)) -> bool {
        match &envelope.event {
            Event::InputAccepted(accepted) if accepted.input == self.input => {
                each(&Step::Accepted(accepted, envelope.at));
            }
            Event::TurnStarted(started) if started.inputs.contains(&self.input) => {
                self.turn = Some(started.turn);
                each(&Step::Started(started));
            }
            Event::TurnResumed(resumed) if self.turn == Some(resumed.turn) => {
                self.told.clear();
                self.speaks = false;
                each(&Step::Resumed(resumed.attempt));
            }
            Event::MessageCompleted(message) if message.input == Some(self.input) => {
                self.turn = Some(message.turn);
            }
            Event::MessageCompleted(message) if self.turn == Some(message.turn) => {
                self.message(message, each);
            }
            Event::InputWithdrawn(gone) if gone.input == self.input => {
                each(&Step::End(&envelope.event, envelope.at));
                return true;
            }
            Event::SessionDeleted(_) => {
                each(&Step::End(&envelope.event, envelope.at));
                return true;
            }
            event if event.ends_turn().is_some() && event.ends_turn() == self.turn => {
                each(&Step::End(event, envelope.at));
                return true;
            }
            _ => {}
        }
        false
    }

    fn delta(&mut self, delta: &Delta, each: &mut impl FnMut(&Step<'_>)) {
        let speaks = match delta.kind {
            DeltaKind::Text => true,
            DeltaKind::Reasoning if !self.speaks => false,
            _ => return,
        };
        let told = self.told.entry((delta.item, delta.kind)).or_default();
        let offset = usize::try_from(delta.offset).unwrap_or(usize::MAX);
        let fresh = rest(&delta.text, told.saturating_sub(offset));
        if fresh.is_empty() {
            return;
        }
        *told += fresh.chars().count();
        self.speaks |= speaks;
        each(&if speaks { Step::Text(delta.item, fresh) } else { Step::Reasoning(delta.item, fresh) });
    }

    fn message(&mut self, message: &MessageCompleted, each: &mut impl FnMut(&Step<'_>)) {
        if message.role != Role::Assistant {
            return;
        }
        let text = Part::join_text(&message.parts);
        let speaks_at = message.parts.iter().position(|part| matches!(part, Part::Text { .. }));
        let (before, after) = message.parts.split_at(speaks_at.unwrap_or(message.parts.len()));
        self.reasoning(before, each);
        let fresh = self.fresh((message.item, DeltaKind::Text), &text);
        if !fresh.is_empty() {
            each(&Step::Text(message.item, fresh));
        }
        self.reasoning(after, each);
        each(&Step::Message(message));
        self.told.clear();
        self.speaks = false;
    }

    fn reasoning(&self, parts: &[Part], each: &mut impl FnMut(&Step<'_>)) {
        for part in parts {
            if let Part::Reasoning { item, text, .. } = part {
                let fresh = self.fresh((*item, DeltaKind::Reasoning), text);
                if !fresh.is_empty() {
                    each(&Step::Reasoning(*item, fresh));
                }
            }
        }
    }

    /// What was not told yet of an item that is complete.
    fn fresh<'t>(&self, key: (ItemId, DeltaKind), text: &'t str) -> &'t str {
        rest(text, self.told.get(&key).copied().unwrap_or(0))
    }
}

/// A text without its first characters.
pub(super) fn rest(text: &str, skipped: usize) -> &str {
    if skipped == 0 {
        return text;
    }
    text.char_indices().nth(skipped).map_or("", |(at, _)| &text[at..])
}
