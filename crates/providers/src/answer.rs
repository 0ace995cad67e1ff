//! Puts an answer together: what every wire has in common between its events and our pieces.

use moongate_core::{Fault, Piece};
use moongate_protocol::{ErrorCode, ReasoningSignature, StopReason, Tokens};

use crate::json::JsonProgress;

/// Most tool calls one answer may have.
const MAX_CALLS: usize = 256;

/// Longest arguments of one tool call, in bytes.
const MAX_ARGUMENTS_BYTES: usize = 1 << 20;

/// What has been said so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    calls: Vec<Call>,
    /// A reasoning block is open.
    reasoning: bool,
}

#[derive(Debug, Default)]
struct Call {
    arguments: JsonProgress,
    bytes: usize,
}

impl Answer {
    /// Where the next pieces go.
    pub(crate) fn sink<'a>(&'a mut self, pieces: &'a mut Vec<Piece>, from: usize) -> Sink<'a> {
        Sink { answer: self, pieces, from }
    }
}

/// Takes pieces in order and joins neighbours that arrived together: one wake-up, one piece of text.
pub(crate) struct Sink<'a> {
    answer: &'a mut Answer,
    pieces: &'a mut Vec<Piece>,
    /// Pieces before this one were handed over earlier and are not ours any more.
    from: usize,
}

impl Sink<'_> {
    /// More text. Ends an open reasoning block.
    pub(crate) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.end_reasoning(None);
        match self.pieces[self.from..].last_mut() {
            Some(Piece::Text(all)) => all.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    /// More reasoning.
    pub(crate) fn reasoning(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.answer.reasoning = true;
        match self.pieces[self.from..].last_mut() {
            Some(Piece::Reasoning(all)) => all.push_str(text),
            _ => self.pieces.push(Piece::Reasoning(text.to_owned())),
        }
    }

    /// The open reasoning block is complete; without an open one, nothing happens.
    pub(crate) fn end_reasoning(&mut self, signature: Option<ReasoningSignature>) {
        if std::mem::take(&mut self.answer.reasoning) {
            self.pieces.push(Piece::ReasoningEnd { signature });
        }
    }

    /// Whether a reasoning block is open.
    pub(crate) fn is_reasoning(&self) -> bool {
        self.answer.reasoning
    }

    /// A reasoning block is complete, whether or not any of it could be read.
    pub(crate) fn seal_reasoning(&mut self, signature: ReasoningSignature) {
        self.answer.reasoning = false;
        self.pieces.push(Piece::ReasoningEnd { signature: Some(signature) });
    }

    /// A tool call begins. Ends an open reasoning block.
    pub(crate) fn begin_call(&mut self, name: &str) -> Result<u32, Fault> {
        let slot = self.answer.calls.len();
        if slot >= MAX_CALLS {
            return Err(protocol_fault("The provider asked for too many tool calls at once."));
        }
        self.end_reasoning(None);
        self.answer.calls.push(Call::default());
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.pieces.push(Piece::ToolCallStart { slot, name: name.to_owned() });
        Ok(slot)
    }

    /// More of a call's arguments.
    pub(crate) fn arguments(&mut self, slot: u32, more: &str) -> Result<(), Fault> {
        let Some(call) = self.answer.calls.get_mut(slot as usize) else { return Ok(()) };
        if more.is_empty() {
            return Ok(());
        }
        call.bytes += more.len();
        if call.bytes > MAX_ARGUMENTS_BYTES {
            return Err(protocol_fault("The provider sent tool arguments that are too long."));
        }
        call.arguments.push(more);
        match self.pieces[self.from..].last_mut() {
            Some(Piece::ToolCallArguments { slot: last, text }) if *last == slot => text.push_str(more),
            _ => self.pieces.push(Piece::ToolCallArguments { slot, text: more.to_owned() }),
        }
        Ok(())
    }

    /// Whether a call's arguments have begun.
    pub(crate) fn has_arguments(&self, slot: u32) -> bool {
        self.answer.calls.get(slot as usize).is_some_and(|call| call.arguments.has_begun())
    }

    /// Tokens so far.
    pub(crate) fn usage(&mut self, tokens: Tokens) {
        self.pieces.push(Piece::Usage(tokens));
    }

    /// The answer is complete. Calls without arguments get an empty object. A turn with tool calls is one that
    /// wants tools, whatever the provider says, unless the token limit cut a call short.
    pub(crate) fn finish(&mut self, stop: StopReason) {
        self.end_reasoning(None);
        for (slot, call) in (0_u32..).zip(&self.answer.calls) {
            if !call.arguments.has_begun() && stop != StopReason::MaxTokens {
                self.pieces.push(Piece::ToolCallArguments { slot, text: "{}".to_owned() });
            }
        }
        let closed = self.answer.calls.iter().all(|call| call.arguments.is_closed());
        let stop = match stop {
            StopReason::MaxTokens if !closed => StopReason::MaxTokens,
            _ if !self.answer.calls.is_empty() => StopReason::ToolUse,
            StopReason::ToolUse => StopReason::EndTurn,
            other => other,
        };
        self.pieces.push(Piece::Finish(stop));
    }
}

/// The provider sent something that is not its protocol.
pub(crate) fn protocol_fault(message: &str) -> Fault {
    Fault::new(ErrorCode::ProviderProtocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(say: impl FnOnce(&mut Sink<'_>)) -> Vec<Piece> {
        let mut pieces = Vec::new();
        say(&mut Answer::default().sink(&mut pieces, 0));
        pieces
    }

    #[test]
    fn neighbours_are_joined_but_never_with_what_was_handed_over() {
        let mut answer = Answer::default();
        let mut pieces = vec![Piece::Text("old".into())];
        let mut sink = answer.sink(&mut pieces, 1);
        sink.text("a");
        sink.text("b");
        assert_eq!(pieces, [Piece::Text("old".into()), Piece::Text("ab".into())]);
    }

    #[test]
    fn a_call_cut_short_by_the_token_limit_is_no_wish_for_tools() {
        let stop = |stop: StopReason, arguments: &str| {
            let said = pieces(|sink| {
                let slot = sink.begin_call("t").unwrap();
                sink.arguments(slot, arguments).unwrap();
                sink.finish(stop);
            });
            said.last().cloned()
        };
        assert_eq!(stop(StopReason::MaxTokens, "{\"a\":"), Some(Piece::Finish(StopReason::MaxTokens)));
        assert_eq!(stop(StopReason::MaxTokens, ""), Some(Piece::Finish(StopReason::MaxTokens)));
        assert_eq!(stop(StopReason::MaxTokens, "{}"), Some(Piece::Finish(StopReason::ToolUse)));
        assert_eq!(stop(StopReason::EndTurn, "{}"), Some(Piece::Finish(StopReason::ToolUse)));
    }

    #[test]
    fn tools_wanted_without_a_call_is_a_plain_end() {
        let said = pieces(|sink| sink.finish(StopReason::ToolUse));
        assert_eq!(said, [Piece::Finish(StopReason::EndTurn)]);
    }

    #[test]
    fn too_many_calls_and_too_long_arguments_are_faults() {
        pieces(|sink| {
            for _ in 0..MAX_CALLS {
                sink.begin_call("t").unwrap();
            }
            assert_eq!(sink.begin_call("t").unwrap_err().code, ErrorCode::ProviderProtocol);
            sink.arguments(0, &"x".repeat(MAX_ARGUMENTS_BYTES)).unwrap();
            assert_eq!(sink.arguments(0, "x").unwrap_err().code, ErrorCode::ProviderProtocol);
        });
    }
}
