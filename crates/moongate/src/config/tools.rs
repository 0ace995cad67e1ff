//! Tools: where they work, and which an agent has.

use std::path::{Path, PathBuf};

use moongate_protocol::ToolName;
use moongate_tools::{Settings, WorkspaceSettings};
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::Reading;

/// The folder, beneath the data folder, of the sessions' own workspaces.
const WORKSPACES: &str = "workspaces";
/// Stands for every tool there is.
const ALL: &str = "*";

/// The built-in tools.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToolsTable {
    /// A folder that all sessions work in; it has to be there. Without it each session gets a folder of its own
    /// in the data folder. Relative to the configuration file.
    pub(crate) workspace: Option<PathBuf>,
}

impl Reading<'_> {
    /// The settings of the built-in tools.
    pub(crate) fn tools(&mut self, table: &ToolsTable, data: &Path) -> Settings {
        if let Some(path) = table.workspace.as_ref().filter(|path| !path.is_dir()) {
            self.fault(&["tools", "workspace"], format!("there is no folder {}", path.display()));
        }
        let workspace = match &table.workspace {
            Some(path) => WorkspaceSettings::Shared(path.clone()),
            None => WorkspaceSettings::PerSession(data.join(WORKSPACES)),
        };
        Settings { workspace }
    }

    /// The tools of an agent, by the names its table has.
    pub(crate) fn agent_tools(
        &mut self,
        agent: &str,
        wanted: &[String],
        known: &[ToolName],
    ) -> Vec<ToolName> {
        let mut tools = Vec::new();
        for text in wanted {
            if text == ALL {
                tools.extend(known.iter().cloned());
                continue;
            }
            match known.iter().find(|name| name.as_str() == text) {
                Some(name) => tools.push(name.clone()),
                None => {
                    let names: Vec<_> = known.iter().map(ToolName::as_str).collect();
                    let message = format!(
                        "there is no tool named {text:?}; there are {}, or \"{ALL}\"",
                        names.join(", ")
                    );
                    self.fault(&["agents", agent, "tools"], message);
                }
            }
        }
        tools.sort();
        tools.dedup();
        tools
    }
}
