//! Tools that are shown to a model only once it asked for them: an agent may have more than a prompt should hold.

use std::{collections::HashSet, sync::Arc};

use moongate_protocol::Part;
use serde_json::Value;

use crate::{PromptMessage, SharedMessage};

/// The tool a model finds others with. Its argument `use` names those that are to be shown from then on.
pub const FIND_TOOL: &str = "find_tool";
/// The argument of [`FIND_TOOL`] that names tools.
pub const FIND_TOOL_USE: &str = "use";

/// The tools a conversation asked for, or called: a fold of what was said, so that a restart changes nothing.
pub(crate) fn found(messages: &[Arc<SharedMessage>]) -> HashSet<&str> {
    let mut found = HashSet::new();
    for message in messages {
        let PromptMessage::Assistant(parts) = &***message else { continue };
        for part in parts {
            let Part::ToolCall { tool, arguments, .. } = part else { continue };
            found.insert(tool.as_str());
            if tool == FIND_TOOL {
                let names = arguments.get(FIND_TOOL_USE).and_then(Value::as_array).into_iter().flatten();
                found.extend(names.filter_map(Value::as_str));
            }
        }
    }
    found
}
