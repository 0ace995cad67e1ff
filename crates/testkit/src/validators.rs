//! The rules a provider has for the messages it is sent, each provider's in its own words: independent of how
//! prompts are built, so that a prompt that breaks one is found.

use std::collections::BTreeSet;

use moongate_core::PromptMessage;
use moongate_protocol::{CallId, Part};

/// What is wrong with a prompt.
pub type Fault = String;

/// One provider's rules.
pub type Validator = fn(&[PromptMessage]) -> Result<(), Fault>;

/// Every provider's rules, by the name of its wire.
pub const VALIDATORS: &[(&str, Validator)] = &[
    ("OpenAI chat completions", openai_chat),
    ("OpenAI Responses", openai_responses),
    ("Anthropic Messages", anthropic),
];

/// Checks a prompt against every provider's rules.
///
/// # Errors
/// The first rule that is broken, and whose it is.
pub fn validate(prompt: &[PromptMessage]) -> Result<(), Fault> {
    let parts = prompt.iter().flat_map(|message| match message {
        PromptMessage::User(parts) | PromptMessage::Assistant(parts) => parts,
        PromptMessage::ToolResult { content, .. } => content,
    });
    let whole = |part: &Part| !matches!(part, Part::ToolResult { .. });
    ensure(parts.into_iter().all(whole), || "a result among the parts of a message".into())?;
    VALIDATORS.iter().try_for_each(|(name, check)| check(prompt).map_err(|fault| format!("{name}: {fault}")))
}

fn ensure(holds: bool, rule: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(rule()) }
}

/// Whether a part is something, not only white space.
fn says_something(part: &Part) -> bool {
    part.as_text().is_none_or(|text| !text.trim().is_empty())
}

/// "An assistant message with `tool_calls` must be followed by tool messages responding to each
/// `tool_call_id`", "messages with role `tool` must be a response to a preceding message with `tool_calls`".
pub fn openai_chat(prompt: &[PromptMessage]) -> Result<(), Fault> {
    let mut unanswered: BTreeSet<&CallId> = BTreeSet::new();
    let mut seen: BTreeSet<&CallId> = BTreeSet::new();
    for (at, message) in prompt.iter().enumerate() {
        match message {
            PromptMessage::ToolResult { call, content, .. } => {
                ensure(unanswered.remove(call), || {
                    format!("{at}: {call} was not asked, or is answered twice")
                })?;
                ensure(content.iter().any(says_something), || format!("{at}: an empty result"))?;
            }
            other => {
                ensure(unanswered.is_empty(), || format!("{at}: {unanswered:?} are not answered"))?;
                match other {
                    PromptMessage::User(parts) => {
                        ensure(parts.iter().any(says_something), || format!("{at}: an empty user message"))?;
                    }
                    PromptMessage::Assistant(parts) => {
                        let calls = parts.iter().filter_map(|part| match part {
                            Part::ToolCall { call, .. } => Some(call),
                            _ => None,
                        });
                        for call in calls {
                            ensure(seen.insert(call), || format!("{at}: {call} is not unique"))?;
                            unanswered.insert(call);
                        }
                        let text = parts.iter().any(|part| part.as_text().is_some() && says_something(part));
                        ensure(text || !unanswered.is_empty(), || {
                            format!("{at}: neither content nor calls")
                        })?;
                    }
                    PromptMessage::ToolResult { .. } => {}
                }
            }
        }
    }
    ensure(unanswered.is_empty(), || format!("at the end {unanswered:?} are not answered"))?;
    ensure(!prompt.is_empty(), || "no messages".into())
}

/// One item of a Responses request's input.
enum Item<'a> {
    Message { is_user: bool },
    Reasoning,
    FunctionCall(&'a CallId),
    FunctionCallOutput(&'a CallId),
}

/// "No tool output found for function call", "no tool call found for function call output", "item of type
/// `reasoning` was provided without its required following item".
pub fn openai_responses(prompt: &[PromptMessage]) -> Result<(), Fault> {
    let mut items = Vec::new();
    for message in prompt {
        match message {
            PromptMessage::User(parts) => {
                ensure(parts.iter().all(says_something), || "an empty input part".into())?;
                items.push(Item::Message { is_user: true });
            }
            PromptMessage::Assistant(parts) => items.extend(parts.iter().map(|part| match part {
                Part::Reasoning { .. } => Item::Reasoning,
                Part::ToolCall { call, .. } => Item::FunctionCall(call),
                _ => Item::Message { is_user: false },
            })),
            PromptMessage::ToolResult { call, .. } => items.push(Item::FunctionCallOutput(call)),
        }
    }
    let mut calls = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        match item {
            Item::FunctionCall(call) => {
                ensure(calls.insert(*call), || format!("{at}: {call} is not unique"))?;
            }
            Item::FunctionCallOutput(call) => {
                ensure(calls.contains(call), || format!("{at}: no function call for the output {call}"))?;
                ensure(outputs.insert(*call), || format!("{at}: a second output of {call}"))?;
            }
            Item::Reasoning => {
                let next = items.get(at + 1);
                let follows = matches!(
                    next,
                    Some(Item::Reasoning | Item::FunctionCall(_) | Item::Message { is_user: false })
                );
                ensure(follows, || format!("{at}: reasoning without its required following item"))?;
            }
            Item::Message { .. } => {}
        }
    }
    ensure(calls == outputs, || format!("no output found for {:?}", calls.difference(&outputs)))?;
    ensure(!items.is_empty(), || "no input".into())
}

/// A block of an Anthropic message.
enum Block<'a> {
    Text(&'a str),
    Thinking,
    ToolUse(&'a CallId),
    ToolResult(&'a CallId),
    Other,
}

impl<'a> Block<'a> {
    fn of(part: &'a Part) -> Self {
        match part {
            Part::Text { text } => Self::Text(text),
            Part::Reasoning { .. } => Self::Thinking,
            Part::ToolCall { call, .. } => Self::ToolUse(call),
            Part::ToolResult { call, .. } => Self::ToolResult(call),
            Part::Image { .. } | Part::File { .. } => Self::Other,
        }
    }
}

/// The roles alternate and a user begins; "`tool_use` ids were found without `tool_result` blocks immediately
/// after", results first; "text content blocks must contain non-whitespace text"; "the final block in an
/// assistant message cannot be `thinking`"; ids are unique.
pub fn anthropic(prompt: &[PromptMessage]) -> Result<(), Fault> {
    let mut messages: Vec<(bool, Vec<Block<'_>>)> = Vec::new();
    for message in prompt {
        let (is_user, blocks) = match message {
            PromptMessage::User(parts) => (true, blocks(parts)),
            PromptMessage::Assistant(parts) => (false, blocks(parts)),
            PromptMessage::ToolResult { call, content, .. } => {
                ensure(content.iter().all(says_something), || {
                    format!("the result of {call} has an empty text")
                })?;
                (true, vec![Block::ToolResult(call)])
            }
        };
        // Results and what a person said after them are one user message on this wire; two things a person
        // said, or two things the model said, are two messages that do not alternate.
        match messages.last_mut() {
            Some((true, before)) if is_user && matches!(before.last(), Some(Block::ToolResult(_))) => {
                before.extend(blocks);
            }
            _ => messages.push((is_user, blocks)),
        }
    }
    ensure(messages.first().is_some_and(|(is_user, _)| *is_user), || {
        "the first message is not a user's".into()
    })?;
    ensure(messages.last().is_some_and(|(is_user, _)| *is_user), || {
        "the last message is not a user's".into()
    })?;
    let mut ids = BTreeSet::new();
    let mut asked: Vec<&CallId> = Vec::new();
    for (at, (is_user, blocks)) in messages.iter().enumerate() {
        ensure(*is_user == (at % 2 == 0), || format!("{at}: the roles do not alternate"))?;
        ensure(!blocks.is_empty(), || format!("{at}: an empty message"))?;
        check_blocks(at, blocks)?;
        let results: Vec<&CallId> = blocks
            .iter()
            .map_while(|block| if let Block::ToolResult(call) = block { Some(*call) } else { None })
            .collect();
        let all = blocks.iter().filter(|block| matches!(block, Block::ToolResult(_))).count();
        ensure(all == results.len(), || format!("{at}: results come first"))?;
        ensure(results == asked, || format!("{at}: results {results:?} for calls {asked:?}"))?;
        asked = blocks
            .iter()
            .filter_map(|block| if let Block::ToolUse(call) = block { Some(*call) } else { None })
            .collect();
        for call in &asked {
            ensure(!is_user && ids.insert(*call), || format!("{at}: {call} is not unique"))?;
        }
    }
    ensure(asked.is_empty(), || format!("{asked:?} without results"))
}

fn check_blocks(at: usize, blocks: &[Block<'_>]) -> Result<(), Fault> {
    for block in blocks {
        if let Block::Text(text) = block {
            ensure(!text.trim().is_empty(), || format!("{at}: a text block without text"))?;
        }
    }
    ensure(!matches!(blocks.last(), Some(Block::Thinking)), || format!("{at}: the final block is thinking"))
}

fn blocks(parts: &[Part]) -> Vec<Block<'_>> {
    parts.iter().map(Block::of).collect()
}

#[cfg(test)]
mod tests {
    use moongate_protocol::ItemId;

    use super::*;

    fn call(id: &str) -> Part {
        let (item, call) = (ItemId::from_bits(1), id.parse().unwrap());
        Part::ToolCall { item, call, tool: "look".into(), arguments: serde_json::json!({}) }
    }

    fn thinks() -> Part {
        Part::Reasoning { item: ItemId::from_bits(2), text: "hm".into(), signature: None }
    }

    fn result(id: &str) -> PromptMessage {
        let (call, tool) = (id.parse().unwrap(), "look".into());
        PromptMessage::ToolResult { call, tool, is_error: false, content: vec![Part::text("x")] }
    }

    fn user(text: &str) -> PromptMessage {
        PromptMessage::User(vec![Part::text(text)])
    }

    fn assistant(parts: &[Part]) -> PromptMessage {
        PromptMessage::Assistant(parts.to_vec())
    }

    #[test]
    fn what_follows_the_rules_is_valid() {
        let prompts = [
            vec![user("hi")],
            vec![user("hi"), assistant(&[thinks(), Part::text("ho")]), user("hi")],
            vec![user("hi"), assistant(&[thinks(), call("a"), call("b")]), result("a"), result("b")],
            vec![
                user("hi"),
                assistant(&[call("a")]),
                result("a"),
                user("and"),
                assistant(&[call("b")]),
                result("b"),
            ],
        ];
        for prompt in prompts {
            assert_eq!(validate(&prompt), Ok(()), "{prompt:?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_found() {
        let text = Part::text("ho");
        let broken = [
            vec![],
            vec![user(" ")],
            vec![assistant(std::slice::from_ref(&text)), user("hi")],
            vec![user("hi"), assistant(std::slice::from_ref(&text))],
            vec![user("hi"), user("hi")],
            vec![
                user("hi"),
                assistant(std::slice::from_ref(&text)),
                assistant(std::slice::from_ref(&text)),
                user("hi"),
            ],
            vec![user("hi"), assistant(&[text.clone(), thinks()]), user("hi")],
            vec![user("hi"), assistant(&[thinks()]), user("hi")],
            vec![user("hi"), assistant(&[call("a")]), user("hi")],
            vec![user("hi"), assistant(&[call("a")]), user("hi"), result("a")],
            vec![user("hi"), assistant(&[call("a"), call("b")]), result("a")],
            vec![user("hi"), assistant(&[call("a")]), result("a"), result("a")],
            vec![user("hi"), result("a")],
            vec![user("hi"), assistant(&[call("a")]), result("a"), assistant(&[call("a")]), result("a")],
            vec![user("hi"), assistant(&[]), user("hi")],
        ];
        for prompt in broken {
            assert!(validate(&prompt).is_err(), "{prompt:?}");
        }
    }
}
