//! `todo`: the agent's list of what is to be done, kept in the log as its calls' results, shown by every client.

use std::fmt::Write as _;

use async_trait::async_trait;
use moongate_core::{Grant, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arguments;

/// Most steps of a list: a person reads it.
const STEPS: usize = 100;
/// Longest text of a step, in bytes.
const STEP_BYTES: usize = 1024;

const DESCRIPTION: &str = "Writes down the steps of the work and how far each is, for the people who watch. Give the \
     whole list each time: it replaces the one before. Keep one step `doing`.";

/// Arguments.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// The steps, in the order they will be done.
    #[schemars(length(max = STEPS))]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What is to be done, in a few words.
    #[schemars(length(min = 1, max = STEP_BYTES))]
    text: String,
    /// How far it is.
    state: State,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Not begun.
    Open,
    /// Being done.
    Doing,
    /// Done.
    Done,
    /// Not needed any more.
    Dropped,
}

impl State {
    fn mark(self) -> &'static str {
        match self {
            Self::Open => "[ ]",
            Self::Doing => "[>]",
            Self::Done => "[x]",
            Self::Dropped => "[-]",
        }
    }
}

/// The tool.
pub(crate) struct Todo {
    spec: ToolSpec,
}

impl Todo {
    pub(crate) fn new() -> Self {
        Self { spec: arguments::spec::<List>("todo", DESCRIPTION, Effect::Read) }
    }
}

#[async_trait]
impl Tool for Todo {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        let list: List = match arguments::read(grant.arguments) {
            Ok(list) => list,
            Err(refused) => return refused,
        };
        let mut text = String::new();
        for step in &list.steps {
            let _ = writeln!(text, "{} {}", step.state.mark(), step.text);
        }
        // A list of plain texts always has a JSON form.
        let data = serde_json::to_value(&list).ok();
        ToolResult { data, ..ToolResult::ok(text) }
    }
}
