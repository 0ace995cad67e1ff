//! What a turn takes over from its input besides the words: instructions, and tools the client runs.

use std::{collections::HashSet, sync::Arc};

use moongate_protocol::ToolSpec;

use super::Setting;
use crate::{SharedMessage, find, session::PendingCall};

impl Setting {
    /// The system prompt: the agent's, then what the input says besides.
    pub(super) fn system(&self) -> Arc<str> {
        match &self.overrides.instructions {
            Some(more) if self.agent.system.is_empty() => more.as_str().into(),
            Some(more) => format!("{}\n\n{more}", self.agent.system).into(),
            None => Arc::clone(&self.agent.system),
        }
    }

    /// The tools the model may ask for after these messages: the agent's, then the client's.
    pub(super) fn tools(&self, messages: &[Arc<SharedMessage>]) -> Arc<[ToolSpec]> {
        let found = if self.agent.hidden.is_empty() { HashSet::new() } else { find::found(messages) };
        let own = self.catalog.tool_specs(&self.agent, &self.namespace, &found);
        if self.client_tools.is_empty() {
            return own;
        }
        let clients = self.client_tools.iter().filter(|tool| self.is_clients(tool.name.as_str()));
        own.iter().chain(clients).cloned().collect()
    }

    /// The calls that are run here: all but those of the client's tools.
    pub(super) fn own_calls(&self, calls: Vec<PendingCall>) -> Vec<PendingCall> {
        calls.into_iter().filter(|call| !self.is_clients(&call.tool)).collect()
    }

    /// Whether the client runs the tool of this name. The agent may have been given one of the same name since.
    fn is_clients(&self, name: &str) -> bool {
        self.client_tools.iter().any(|tool| tool.name.as_str() == name) && !self.agent.has_tool(name)
    }
}
