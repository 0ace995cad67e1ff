//! What shows a conversation: to a person, or to a program.

use moongate_protocol::{Delta, Envelope, InputId, Notice};

use crate::exit::Outcome;

/// Shows a conversation as it happens.
pub(crate) trait View: Send {
    /// The person's own input, which need not be shown again.
    fn own(&mut self, input: InputId);

    /// A fact, and the text the server wrote it as.
    fn event(&mut self, envelope: &Envelope, raw: &str) -> Outcome;

    /// A piece of something that is being written.
    fn delta(&mut self, delta: &Delta) -> Outcome;

    /// A passing state.
    fn notice(&mut self, notice: &Notice);

    /// Something about the connection to the server.
    fn aside(&mut self, text: &str);

    /// A tenth of a second went by.
    fn tick(&mut self) {}
}
