//! Ids of tool calls within the providers' grammars, unique in the whole prompt.

use std::{borrow::Cow, collections::HashSet};

use moongate_protocol::CallId;

use crate::config::CallIds;

/// Longest id every provider takes.
const MAX_ID: usize = 64;

/// Names calls for one prompt, in its order, so that a longer prompt names its first calls alike and the
/// provider's cache still fits.
pub(crate) struct CallNames<'a> {
    style: CallIds,
    used: HashSet<Cow<'a, str>>,
    count: u32,
    /// The calls of the last assistant message: ours and theirs.
    open: Vec<(&'a CallId, Cow<'a, str>)>,
}

impl<'a> CallNames<'a> {
    pub(crate) fn new(style: CallIds) -> Self {
        Self { style, used: HashSet::new(), count: 0, open: Vec::new() }
    }

    /// Another assistant message begins: what the last one called is answered.
    pub(crate) fn begin_message(&mut self) {
        self.open.clear();
    }

    /// The id of a call.
    pub(crate) fn call(&mut self, call: &'a CallId) -> Cow<'a, str> {
        self.count += 1;
        let id = if self.fits(call.as_str()) && !self.used.contains(call.as_str()) {
            Cow::Borrowed(call.as_str())
        } else {
            self.numbered()
        };
        self.used.insert(id.clone());
        self.open.push((call, id.clone()));
        id
    }

    /// The id of the call a result belongs to.
    pub(crate) fn result(&self, call: &'a CallId) -> Cow<'a, str> {
        let open = self.open.iter().find(|(ours, _)| *ours == call);
        open.map_or_else(|| Cow::Borrowed(call.as_str()), |(_, theirs)| theirs.clone())
    }

    fn fits(&self, id: &str) -> bool {
        match self.style {
            CallIds::Usual => {
                id.len() <= MAX_ID
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            }
            CallIds::Nine => id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        }
    }

    fn numbered(&self) -> Cow<'a, str> {
        let name = |n: u32| match self.style {
            CallIds::Usual => format!("call_{n}"),
            CallIds::Nine => format!("c{:08}", n % 100_000_000),
        };
        let free = (self.count..).map(name).find(|name| !self.used.contains(name.as_str()));
        Cow::Owned(free.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(style: CallIds, ours: &[&str]) -> Vec<String> {
        let ours: Vec<CallId> = ours.iter().map(|id| id.parse().unwrap()).collect();
        let mut names = CallNames::new(style);
        ours.iter()
            .map(|call| {
                names.begin_message();
                let id = names.call(call).into_owned();
                assert_eq!(names.result(call), id);
                id
            })
            .collect()
    }

    #[test]
    fn ids_fit_and_are_unique() {
        let long = "x".repeat(65);
        assert_eq!(
            ids(CallIds::Usual, &["call_a", "a:b", "call_a", "call_2", &long]),
            ["call_a", "call_2", "call_3", "call_4", "call_5"]
        );
        assert_eq!(
            ids(CallIds::Nine, &["abcdefghi", "call_a", "abcdefghi"]),
            ["abcdefghi", "c00000002", "c00000003"]
        );
    }
}
