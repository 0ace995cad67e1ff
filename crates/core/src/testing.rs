//! What tests look at and doors have no use for.

use std::sync::Arc;

use moongate_protocol::Envelope;

use crate::{PromptMessage, SharedMessage, session::State, turn::prompt};

/// The prompt of a conversation with this log; `None` when it is no log.
pub fn prompt(log: &[Envelope]) -> Option<Vec<PromptMessage>> {
    let (first, rest) = log.split_first()?;
    let mut state = State::begin(first)?;
    rest.iter().for_each(|envelope| state.apply(envelope));
    Some(own(&prompt::build(&state.transcript)))
}

/// The prompts after each event of a log, each grown from the one before as a session's are.
pub fn growing_prompts(log: &[Envelope]) -> Option<Vec<Vec<PromptMessage>>> {
    let (first, rest) = log.split_first()?;
    let (mut state, mut draft) = (State::begin(first)?, prompt::Draft::default());
    let mut prompts = vec![own(&draft.next(&state.transcript))];
    for envelope in rest {
        state.apply(envelope);
        prompts.push(own(&draft.next(&state.transcript)));
    }
    Some(prompts)
}

fn own(messages: &[Arc<SharedMessage>]) -> Vec<PromptMessage> {
    messages.iter().map(|message| PromptMessage::clone(message)).collect()
}
