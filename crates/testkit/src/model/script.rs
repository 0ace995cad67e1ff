//! What a scripted model does in one call.

use std::{
    collections::VecDeque,
    sync::{Arc, Barrier},
    time::Duration,
};

use moongate_core::{Fault, Piece};
use moongate_protocol::{ErrorCode, ReasoningSignature, StopReason, Tokens, WaitingOn};
use serde_json::Value;

use crate::Gate;

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send a piece.
    Piece(Piece),
    /// Do nothing for a while, on tokio's clock.
    Pause(Duration),
    /// Wait until the test opens the gate.
    Gate(Gate),
    /// Never say anything again.
    Hang,
    /// Panic, as code with a fault in it does.
    Panic,
    /// Block the thread, as code with a fault in it does, until the test comes to the barrier a second time.
    Block(Arc<Barrier>),
}

/// The steps of one model call.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    calls: u32,
}

impl Script {
    /// An empty script: silence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says a text in one piece and ends.
    pub fn says(text: &str) -> Self {
        Self::new().text(text).usage(10, 2).end()
    }

    /// Asks for tool calls and ends.
    pub fn calls(calls: &[(&str, Value)]) -> Self {
        let script = calls.iter().fold(Self::new(), |script, (tool, arguments)| script.call(tool, arguments));
        script.usage(10, 2).finish(StopReason::ToolUse)
    }

    /// Any step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// Any piece.
    #[must_use]
    pub fn piece(self, piece: Piece) -> Self {
        self.step(Step::Piece(piece))
    }

    /// A piece of text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.piece(Piece::Text(text.into()))
    }

    /// A text, one character a piece, with a pause of a millisecond before each: on a paused clock every
    /// follower has taken a piece before the next comes.
    #[must_use]
    pub fn typed(self, text: &str) -> Self {
        text.chars().fold(self, |script, c| script.pause(Duration::from_millis(1)).text(&c.to_string()))
    }

    /// A reasoning block, one piece.
    #[must_use]
    pub fn reasoning(self, text: &str, signature: Option<ReasoningSignature>) -> Self {
        self.piece(Piece::Reasoning(text.into())).piece(Piece::ReasoningEnd { signature })
    }

    /// A whole tool call.
    #[must_use]
    pub fn call(self, tool: &str, arguments: &Value) -> Self {
        self.raw_call(tool, &arguments.to_string())
    }

    /// A whole tool call whose arguments are any text.
    #[must_use]
    pub fn raw_call(mut self, tool: &str, arguments: &str) -> Self {
        let slot = self.calls;
        self.calls += 1;
        self.piece(Piece::ToolCallStart { slot, name: tool.into() })
            .piece(Piece::ToolCallArguments { slot, text: arguments.into() })
    }

    /// Tokens so far.
    #[must_use]
    pub fn usage(self, input: u64, output: u64) -> Self {
        self.piece(Piece::Usage(Tokens { input, output, ..Tokens::default() }))
    }

    /// Waits for something else than the model, then works again.
    #[must_use]
    pub fn waits_for(self, on: WaitingOn, duration: Duration) -> Self {
        self.piece(Piece::Waiting(on)).pause(duration).piece(Piece::Working)
    }

    /// A pause.
    #[must_use]
    pub fn pause(self, duration: Duration) -> Self {
        self.step(Step::Pause(duration))
    }

    /// A gate.
    #[must_use]
    pub fn gate(self, gate: &Gate) -> Self {
        self.step(Step::Gate(gate.clone()))
    }

    /// The end: everything was said.
    #[must_use]
    pub fn end(self) -> Self {
        self.finish(StopReason::EndTurn)
    }

    /// The end, for any reason.
    #[must_use]
    pub fn finish(self, reason: StopReason) -> Self {
        self.piece(Piece::Finish(reason))
    }

    /// The end, because something failed.
    #[must_use]
    pub fn fault(self, code: ErrorCode) -> Self {
        self.piece(Piece::Fault(Fault::new(code, "the script says so")))
    }

    /// Silence for ever.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// A panic.
    #[must_use]
    pub fn panic(self) -> Self {
        self.step(Step::Panic)
    }

    /// A thread that is held from the test's first coming to the barrier to its second: no cancel reaches it.
    #[must_use]
    pub fn block(self, barrier: &Arc<Barrier>) -> Self {
        self.step(Step::Block(Arc::clone(barrier)))
    }

    pub(super) fn into_steps(self) -> VecDeque<Step> {
        self.steps
    }
}
