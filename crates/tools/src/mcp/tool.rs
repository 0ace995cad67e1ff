//! A server's tool, as an agent has it.

use std::sync::Arc;

use async_trait::async_trait;
use moongate_core::{Grant, Tool, ToolResult};
use moongate_protocol::{Effect, ToolOutcome, ToolSpec};
use serde_json::Value;
use tokio::time::sleep;

use super::{answer, definition::Definition, server::Server};

/// A tool of a server.
pub(super) struct McpTool {
    server: Arc<Server>,
    /// The server's name for it.
    tool: String,
    hash: String,
    spec: ToolSpec,
    is_pinned: bool,
}

impl McpTool {
    pub(super) fn new(server: &Arc<Server>, definition: Definition, is_pinned: bool) -> Self {
        let Definition { tool, spec, hash } = definition;
        let spec = if is_pinned { spec } else { silenced(spec) };
        Self { server: Arc::clone(server), tool, hash, spec, is_pinned }
    }

    /// Whether its definition is another than the pinned one, and nobody accepted it.
    pub(super) fn has_changed(&self) -> bool {
        !self.is_pinned
    }

    /// Whether the other is the same tool, as far as anybody can tell.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        (&self.tool, &self.hash, self.is_pinned) == (&other.tool, &other.hash, other.is_pinned)
    }

    fn changed(&self) -> ToolResult {
        let server = &self.server.settings.name;
        let words = format!(
            "This tool's definition changed; an operator must accept it: moongate mcp accept {server}"
        );
        ToolResult::ended(ToolOutcome::Error, words)
    }
}

/// A tool nobody accepted: what its server says of it now reaches no model.
fn silenced(spec: ToolSpec) -> ToolSpec {
    ToolSpec {
        name: spec.name,
        description: "Cannot be used: its definition changed, and an operator has to accept it first.".into(),
        parameters: Value::Object([("type".to_owned(), Value::from("object"))].into_iter().collect()),
        effect: Effect::Effect,
    }
}

#[async_trait]
impl Tool for McpTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        if self.has_changed() {
            return self.changed();
        }
        let Grant { arguments, cancel, output, .. } = grant;
        let Value::Object(arguments) = arguments else {
            return ToolResult::ended(ToolOutcome::Error, "The arguments are not a JSON object.");
        };
        let stopped = || {
            let words = "The call was stopped; the MCP server was told, and may have done a part of it.";
            ToolResult::ended(ToolOutcome::Cancelled, words)
        };
        let line = tokio::select! {
            line = self.server.line() => line,
            () = cancel.cancelled() => return stopped(),
        };
        let line = match line {
            Ok(line) => line,
            Err(why) => return ToolResult::ended(ToolOutcome::Error, why),
        };
        let call = line.call(self.tool.clone(), arguments, output);
        let limit = self.server.settings.call;
        tokio::select! {
            answer = call => answer::read(answer),
            () = cancel.cancelled() => stopped(),
            () = sleep(limit) => {
                self.server.doubted.notify_one();
                answer::unknown(&format!("The MCP server did not answer within {} seconds.", limit.as_secs()))
            }
        }
    }
}
