//! What a client shows of a turn, whichever door it came in by.

use serde_json::Value;

/// A turn as a person sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    /// What the agent said; between two messages is a blank line.
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) tools: Vec<Tool>,
    /// Tokens of the prompts and of the answers, where they were told.
    pub(crate) usage: Option<(u64, u64)>,
    pub(crate) ending: Ending,
    /// Text that comes now belongs to another message.
    pub(crate) paragraph: bool,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) arguments: Value,
    /// Its result; none while it has none.
    pub(crate) outcome: Option<Outcome>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Ok(String),
    Failed(String),
}

impl Outcome {
    pub(crate) fn of(is_error: bool, output: &Value) -> Self {
        let output = output.as_str().unwrap().to_owned();
        if is_error { Self::Failed(output) } else { Self::Ok(output) }
    }
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Ending {
    #[default]
    Open,
    Completed,
    Cancelled,
    Failed(Cause),
}

/// Whose fault it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cause {
    Provider,
    /// Anything no scenario means, in the door's word.
    Other(String),
}

impl Ending {
    /// A failure with a door's own word for a fault of the provider, and the one it gave.
    pub(crate) fn failed(is_provider: bool, word: &Value) -> Self {
        Self::Failed(if is_provider { Cause::Provider } else { Cause::Other(word.to_string()) })
    }
}

/// What a protocol has a place for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shows {
    pub(crate) tools: bool,
    pub(crate) usage_of_failed: bool,
    pub(crate) cancelled: bool,
}

impl Shows {
    pub(crate) const ALL: Self = Self { tools: true, usage_of_failed: true, cancelled: true };
}

impl Shown {
    pub(crate) fn say(&mut self, text: &str) {
        if std::mem::take(&mut self.paragraph) && !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(text);
    }

    pub(crate) fn call(&mut self, name: &Value, arguments: &Value) {
        let name = name.as_str().unwrap().to_owned();
        self.tools.push(Tool { name, arguments: arguments.clone(), outcome: None });
    }

    /// The same where a protocol has no place for some of it.
    pub(crate) fn as_seen(&self, shows: Shows) -> Self {
        let mut seen = self.clone();
        if !shows.tools {
            seen.tools.clear();
        }
        if !shows.cancelled && seen.ending == Ending::Cancelled {
            seen.ending = if seen.text.is_empty() {
                Ending::Failed(Cause::Other("\"cancelled\"".into()))
            } else {
                Ending::Completed
            };
        }
        if !shows.usage_of_failed && matches!(seen.ending, Ending::Failed(_)) {
            seen.usage = None;
        }
        seen
    }
}

/// Tokens of the prompts and of the answers. None at all is the same as not told: protocols differ in which they say
/// of a turn that used none.
pub(crate) fn usage(input: &Value, output: &Value) -> Option<(u64, u64)> {
    let tokens = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number of tokens: {value}"));
    Some((tokens(input), tokens(output))).filter(|used| *used != (0, 0))
}
