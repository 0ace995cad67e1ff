//! What an input's turn came to.

use moongate_core::{Frame, FrameBody};
use moongate_protocol::{Event, InputId, Part, Role, StopReason, UsageTotal};

use super::views::{Ending, ToolCallBody, TurnBody, TurnError};
use crate::door::shared::{InputTurn, Relation};

/// The fold of an input's turn to its result.
pub(crate) struct Outcome {
    watch: InputTurn,
    text: String,
    stop_reason: Option<StopReason>,
    tool_calls: Vec<ToolCallBody>,
    usage: UsageTotal,
    error: Option<TurnError>,
    ending: Option<Ending>,
}

impl Outcome {
    pub(crate) fn of(input: InputId) -> Self {
        Self {
            watch: InputTurn::of(input),
            text: String::new(),
            stop_reason: None,
            tool_calls: Vec::new(),
            usage: UsageTotal::default(),
            error: None,
            ending: None,
        }
    }

    /// Takes a frame; says whether the turn is over.
    pub(crate) fn take(&mut self, frame: &Frame) -> bool {
        let relation = self.watch.relation(frame);
        if relation == Relation::Foreign {
            return false;
        }
        if let FrameBody::Event(record) = &frame.body
            && let Ok(envelope) = record.envelope()
        {
            self.fold(&envelope.event);
        }
        relation == Relation::End
    }

    /// The result of a turn that is over.
    pub(crate) fn body(self) -> TurnBody {
        TurnBody {
            input: self.watch.input(),
            turn: self.watch.turn(),
            ending: self.ending.unwrap_or(Ending::Withdrawn),
            text: self.text,
            stop_reason: self.stop_reason,
            usage: self.usage.into(),
            tool_calls: self.tool_calls,
            error: self.error,
        }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.text = Part::join_text(&message.parts);
                self.stop_reason = message.stop_reason;
                let calls = message.parts.iter().filter_map(|part| match part {
                    Part::ToolCall { call, tool, arguments, .. } => Some(ToolCallBody {
                        call: call.clone(),
                        tool: tool.clone(),
                        arguments: arguments.clone(),
                        outcome: None,
                    }),
                    _ => None,
                });
                self.tool_calls.extend(calls);
            }
            Event::ToolFinished(finished) => {
                if let Some(call) = self.tool_calls.iter_mut().find(|call| call.call == finished.call) {
                    call.outcome = Some(finished.outcome);
                }
            }
            Event::TurnCompleted(end) => {
                (self.ending, self.usage) = (Some(Ending::Completed), end.usage);
                self.stop_reason = Some(end.stop_reason);
            }
            Event::TurnFailed(end) => {
                (self.ending, self.usage) = (Some(Ending::Failed), end.usage);
                let (code, message, retryable) = (end.code, end.message.clone(), end.retryable);
                self.error = Some(TurnError { code, message, retryable });
            }
            Event::TurnCancelled(end) => {
                (self.ending, self.usage) = (Some(Ending::Cancelled), end.usage);
                self.stop_reason = Some(StopReason::Cancelled);
            }
            _ => {}
        }
    }
}
