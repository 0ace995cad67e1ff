//! What tests look at and doors have no use for.

use moongate_protocol::Envelope;

use crate::{PromptMessage, session::State, turn::prompt};

/// The prompt of a conversation with this log; `None` when it is no log.
pub fn prompt(log: &[Envelope]) -> Option<Vec<PromptMessage>> {
    let (first, rest) = log.split_first()?;
    let mut state = State::begin(first)?;
    rest.iter().for_each(|envelope| state.apply(envelope));
    Some(prompt::build(&state.transcript).iter().map(|message| PromptMessage::clone(message)).collect())
}
