//! Tools: where they work, and which an agent has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use moongate_protocol::ToolName;
use moongate_tools::{Settings, WorkspaceSettings, mcp::ServerSettings};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{check::Reading, mcp::McpTable};

/// The folder, beneath the data folder, of the sessions' own workspaces.
const WORKSPACES: &str = "workspaces";
/// Tools an agent has until some are hidden: each is a part of every prompt.
pub(crate) const FIND_ABOVE: usize = 60;
/// Stands for every tool there is.
const ALL: &str = "*";

/// The built-in tools.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToolsTable {
    /// A folder that all sessions work in; it has to be there. Without it each session gets a folder of its own
    /// in the data folder. Relative to the configuration file.
    pub(crate) workspace: Option<PathBuf>,
    /// How many tools an agent may have until those of MCP servers that it does not name one by one are only shown
    /// when it looks for them with `find_tool`; 60 by default.
    pub(crate) find_above: Option<usize>,
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

    /// The tools of an agent, by the names its table has: those that are built in, and the names and beginnings of
    /// names of those that MCP servers may turn out to have.
    pub(crate) fn agent_tools(
        &mut self,
        agent: &str,
        wanted: &[String],
        (known, servers): (&[ToolName], &BTreeMap<String, McpTable>),
    ) -> (Vec<ToolName>, Vec<String>) {
        let (mut tools, mut theirs) = (Vec::new(), Vec::new());
        let is_theirs = |text: &str| {
            servers.keys().any(|server| {
                let own = text.strip_prefix(&ServerSettings::prefix(server));
                own.is_some_and(|own| own == ALL || own.trim_end_matches(ALL).parse::<ToolName>().is_ok())
            })
        };
        for text in wanted {
            if text == ALL {
                tools.extend(known.iter().cloned());
                theirs
                    .extend(servers.keys().map(|server| format!("{}{ALL}", ServerSettings::prefix(server))));
                continue;
            }
            if is_theirs(text) {
                theirs.push(text.clone());
                continue;
            }
            match known.iter().find(|name| name.as_str() == text) {
                Some(name) => tools.push(name.clone()),
                None => {
                    let names: Vec<_> = known.iter().map(ToolName::as_str).collect();
                    let message = format!(
                        "there is no tool named {text:?}; there are {}, \"NAME__{ALL}\" for those of [mcp.NAME], or \
                         \"{ALL}\"",
                        names.join(", ")
                    );
                    self.fault(&["agents", agent, "tools"], message);
                }
            }
        }
        tools.sort();
        tools.dedup();
        (tools, theirs)
    }
}
