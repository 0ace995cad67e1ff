//! The ids clients see: the native ones under the names OpenAI gives them, so that nothing has to be kept.

use moongate_protocol::{InputId, ItemId, Seq, SessionId};

/// Characters of a native id's unique part.
const UNIQUE: usize = 26;

/// A response: an input of a session, and the turn it set off. It says where its log has it, so that nothing
/// before has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseId {
    pub(super) session: SessionId,
    pub(super) input: InputId,
    /// The event that accepted the input.
    pub(super) at: Seq,
}

impl std::fmt::Display for ResponseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (session, input) = (self.session.to_string(), self.input.to_string());
        let (session, input) = (&session[SessionId::PREFIX.len()..], &input[InputId::PREFIX.len()..]);
        write!(f, "resp_{session}{input}{:x}", self.at.0)
    }
}

impl ResponseId {
    /// The response of this id; `None` for a text that is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let unique = text.strip_prefix("resp_").filter(|unique| unique.is_ascii())?;
        let (session, rest) = unique.split_at_checked(UNIQUE)?;
        let (input, at) = rest.split_at_checked(UNIQUE)?;
        let id = Self {
            session: format!("{}{session}", SessionId::PREFIX).parse().ok()?,
            input: format!("{}{input}", InputId::PREFIX).parse().ok()?,
            at: Seq(u64::from_str_radix(at, 16).ok()?),
        };
        // One response has one id.
        (id.at > Seq::ZERO && id.to_string() == text).then_some(id)
    }

    /// The last event of the log that is none of its own.
    pub(super) fn before(&self) -> Seq {
        Seq(self.at.0.saturating_sub(1))
    }
}

/// The conversation a session is.
pub(super) fn conversation(session: SessionId) -> String {
    session.to_string().replacen(SessionId::PREFIX, "conv_", 1)
}

/// The session a conversation is; `None` for a text that is no conversation's id.
pub(super) fn session(conversation: &str) -> Option<SessionId> {
    let unique = conversation.strip_prefix("conv_")?;
    format!("{}{unique}", SessionId::PREFIX).parse().ok()
}

/// An item under one of OpenAI's names, `msg_` for example.
pub(super) fn item(prefix: &str, item: ItemId) -> String {
    item.to_string().replacen(ItemId::PREFIX, prefix, 1)
}

/// An input as an item.
pub(super) fn input(input: InputId, part: usize) -> String {
    format!("{}_{part}", input.to_string().replacen(InputId::PREFIX, "msg_", 1))
}

/// A completion.
pub(super) fn completion(input: InputId) -> String {
    input.to_string().replacen(InputId::PREFIX, "chatcmpl-", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_nothing_else_is_one() {
        let id = ResponseId {
            session: SessionId::from_bits(u128::MAX),
            input: InputId::from_bits(7),
            at: Seq(1234),
        };
        assert_eq!(ResponseId::parse(&id.to_string()), Some(id));
        let conversation = conversation(id.session);
        assert_eq!(session(&conversation), Some(id.session));
        let text = id.to_string();
        let whole = text.len() - "4d2".len();
        let with = |at: &str| format!("{}{at}", &text[..whole]);
        let numbers = ["", "0", "04d2", "+4d2", "4D2", "g", "10000000000000000"].map(with);
        let others = ["", "resp_", "resp_é", "conv_../x", &text[5..], &text[..whole - 1]];
        let bad = numbers.iter().map(String::as_str).chain(others);
        for bad in bad {
            assert_eq!((ResponseId::parse(bad), session(bad)), (None, None), "{bad}");
        }
    }
}
