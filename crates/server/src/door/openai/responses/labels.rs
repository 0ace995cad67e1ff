//! What a response's request said and nothing else in the log does: labels of its input. The log is the only place
//! where the door keeps anything.

use moongate_protocol::{InputId, Metadata};

/// What all of the door's labels begin with. A client's own labels do not.
const OURS: &str = "openai.";
/// The model as the request named it.
pub(super) const MODEL: &str = "openai.model";
/// The response it goes on from.
pub(super) const PREVIOUS: &str = "openai.previous_response_id";
/// It was asked for in the background.
pub(super) const BACKGROUND: &str = "openai.background";
/// It is part of a conversation the client has made.
pub(super) const CONVERSATION: &str = "openai.conversation";

/// Whether a label is the door's own.
pub(in crate::door::openai) fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// Takes away what a client must not say about itself.
pub(super) fn seal(labels: &mut Metadata) {
    labels.retain(|name, _| !is_ours(name));
}

/// A client's own labels.
pub(in crate::door::openai) fn clients(labels: &Metadata) -> Metadata {
    let mut labels = labels.clone();
    seal(&mut labels);
    labels
}

/// The label of a session that says that one of its responses was deleted.
pub(super) fn deleted(input: InputId) -> String {
    format!("openai.deleted.{input}")
}
