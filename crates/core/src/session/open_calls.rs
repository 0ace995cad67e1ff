//! Calls of tools the client runs: open from the end of the turn that asked for them until an input answers them
//! or says something else.

use std::collections::HashSet;

use moongate_protocol::{CallId, ErrorCode, ItemId, NewInput, Part, Said, ToolSpec};

use super::{
    state::State,
    transcript::{CallState, Transcript, blobs_in, calls_in},
};
use crate::{
    Agent, Refusal,
    limits::{CLIENT_TOOL_BYTES, CLIENT_TOOLS, INPUT_TEXT_BYTES},
    turn::prompt,
};

impl Transcript {
    /// The turn ended with calls of the last message unanswered: they are the client's to run.
    pub(super) fn hand_over(&mut self) {
        let asked: Vec<_> = self.last_calls().collect();
        for key in asked {
            if let Some(state @ CallState::Asked) = self.calls.get_mut(&key) {
                *state = CallState::Open;
            }
        }
    }

    /// Takes the results of open calls and returns what else was said. A result nobody waits for says nothing.
    pub(super) fn take_results(&mut self, parts: Vec<Part>) -> Vec<Part> {
        let mut said = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::ToolResult { call, content, is_error } => self.answer(&call, content, is_error),
                other => said.push(other),
            }
        }
        said
    }

    fn answer(&mut self, call: &CallId, content: Vec<Part>, is_error: bool) {
        let Some(key) = self.open_calls().find(|(_, open)| open == call) else { return };
        let content = prompt::result(content);
        self.blobs.extend(blobs_in(&content));
        self.calls.insert(key, CallState::Finished { content: content.into(), is_error });
    }

    /// The calls an input may answer.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = (ItemId, CallId)> {
        self.last_calls().filter(|key| self.calls.get(key) == Some(&CallState::Open))
    }

    fn last_calls(&self) -> impl Iterator<Item = (ItemId, CallId)> {
        let last = self.entries.last().filter(|entry| !entry.is_users());
        last.into_iter()
            .flat_map(|entry| calls_in(entry.parts()))
            .map(|(item, call, ..)| (item, call.clone()))
    }
}

/// Checks the tools an input brings along.
///
/// # Errors
/// When they are too many, too large, or named as another one is.
pub(super) fn check_tools(tools: &[ToolSpec], agent: &Agent) -> Result<(), Refusal> {
    if tools.len() > CLIENT_TOOLS {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("an input has at most {CLIENT_TOOLS} tools")));
    }
    let size = |tool: &ToolSpec| tool.description.len() + tool.parameters.to_string().len();
    if tools.iter().map(size).sum::<usize>() > CLIENT_TOOL_BYTES {
        let message = format!("an input's tools have at most {CLIENT_TOOL_BYTES} bytes");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let mut names = HashSet::new();
    for tool in tools {
        if agent.has_tool(tool.name.as_str()) || !names.insert(&tool.name) {
            let message = format!("there are two tools named {}, or the agent has one itself", tool.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok(())
}

/// Checks that results among what was said elsewhere follow their calls, or answer calls that are open.
///
/// # Errors
/// `invalid_request` when one does not.
pub(super) fn check_said(state: &State, said: &[Said]) -> Result<(), Refusal> {
    let mut asked: HashSet<CallId> = state.transcript.open_calls().map(|(_, call)| call).collect();
    for part in said.iter().flat_map(|said| &said.parts) {
        match part {
            Part::ToolCall { call, .. } => {
                asked.insert(call.clone());
            }
            Part::ToolResult { call, .. } if !asked.contains(call) => {
                let message = format!("no call {call} waits for a result");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that results an input brings answer calls that are open, each once.
///
/// # Errors
/// `conflict` when one does not.
pub(super) fn check_results(state: &State, input: &NewInput) -> Result<(), Refusal> {
    let mut results = input.parts.iter().filter_map(|part| match part {
        Part::ToolResult { call, content, .. } => Some((call, content)),
        _ => None,
    });
    let idle = state.turn.is_none() && state.waiting.is_empty();
    let mut open: HashSet<CallId> =
        state.transcript.open_calls().filter(|_| idle).map(|(_, call)| call).collect();
    results.try_for_each(|(call, content)| {
        if content
            .iter()
            .any(|part| !matches!(part, Part::Text { .. } | Part::Image { .. } | Part::File { .. }))
        {
            let message = "a call's result has text, images and files only";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        if content.iter().filter_map(Part::as_text).map(str::len).sum::<usize>() > INPUT_TEXT_BYTES {
            let message = format!("a call's result has at most {INPUT_TEXT_BYTES} bytes of text");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        if !open.remove(call) {
            let message = format!("no call {call} waits for a result");
            return Err(Refusal::new(ErrorCode::Conflict, message));
        }
        Ok(())
    })
}
