//! The tool an agent hands a task to another one with. It is no tool like others: the call waits for a session.

use moongate_protocol::{AgentName, Effect, ToolName, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Agent, limits::INPUT_TEXT_BYTES};

/// Its name, which no other tool can have.
pub(crate) const DELEGATE: &str = "delegate";

const DESCRIPTION: &str = "Hands a task to another agent and waits for its answer. That agent sees nothing of this \
     conversation but the task: say everything it has to know.";

/// What the model asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Errand {
    pub(crate) agent: AgentName,
    pub(crate) task: String,
}

impl Errand {
    /// Reads a call's arguments.
    ///
    /// # Errors
    /// What is wrong with them, in words a model can act on.
    pub(crate) fn read(arguments: &Value) -> Result<Self, String> {
        let errand = Self::deserialize(arguments)
            .map_err(|fault| format!("The arguments cannot be used: {fault}."))?;
        if errand.task.trim().is_empty() {
            return Err("The argument task cannot be used: it says nothing.".into());
        }
        if errand.task.len() > INPUT_TEXT_BYTES {
            return Err(format!(
                "The argument task cannot be used: it has more than {INPUT_TEXT_BYTES} bytes."
            ));
        }
        Ok(errand)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schema<'a> {
    r#type: &'static str,
    properties: Properties<'a>,
    required: [&'static str; 2],
    additional_properties: bool,
}

#[derive(Serialize)]
struct Properties<'a> {
    agent: Choice<'a>,
    task: Text,
}

#[derive(Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    r#enum: &'a [AgentName],
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    description: &'static str,
}

/// What the agent's model is told of it; nothing when there is nobody to hand a task to. The policy does not ask
/// about it: it changes nothing by itself, and what the other agent does is judged there.
pub(crate) fn spec(agent: &Agent) -> Option<ToolSpec> {
    if agent.delegates.is_empty() {
        return None;
    }
    let name: ToolName = DELEGATE.parse().ok()?;
    let schema = Schema {
        r#type: "object",
        properties: Properties {
            agent: Choice { r#type: "string", r#enum: &agent.delegates },
            task: Text { r#type: "string", description: "What is to be done, in full." },
        },
        required: ["agent", "task"],
        additional_properties: false,
    };
    let parameters = serde_json::to_value(schema).ok()?;
    Some(ToolSpec { name, description: DESCRIPTION.into(), parameters, effect: Effect::Read })
}
