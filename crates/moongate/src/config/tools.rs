//! Tools: where and how they work, and which an agent has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use moongate_core::ASK_USER;
use moongate_protocol::ToolName;
use moongate_tools::{
    SandboxChoice, SandboxLimits, Settings, ShellSettings, WebSettings, WorkspaceSettings,
    mcp::ServerSettings,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{check::Reading, mcp::McpTable};

/// The folder, beneath the data folder, of the sessions' own workspaces.
const WORKSPACES: &str = "workspaces";
/// Tools an agent has until some are hidden: each is a part of every prompt.
pub(crate) const FIND_ABOVE: usize = 60;
/// Stands for every tool there is.
const ALL: &str = "*";
/// Bytes of a megabyte as it is set.
const MEGABYTE: u64 = 1024 * 1024;
/// Most megabytes of anything: past this it is a mistake in the unit.
const MAX_MEGABYTES: u64 = 1024 * 1024;
/// Most processes, open files: what Linux has numbers for.
const MAX_COUNT: u64 = 4_194_304;
/// Longest a page is waited for: an hour.
const MAX_WEB_SECS: u64 = 3600;

/// The built-in tools.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToolsTable {
    /// A folder that all sessions work in; it has to be there. Without it each session gets a folder of its own
    /// in the data folder. Relative to the configuration file.
    pub(crate) workspace: Option<PathBuf>,
    /// Commands: `shell`.
    pub(crate) shell: ShellTable,
    /// Pages: `web_fetch`.
    pub(crate) web: WebTable,
    /// How many tools an agent may have until those of MCP servers that it does not name one by one are only shown
    /// when it looks for them with `find_tool`; 60 by default.
    pub(crate) find_above: Option<usize>,
}

/// Commands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ShellTable {
    /// Whether commands can be run at all; true by default. What an agent may run its policy says.
    pub(crate) enabled: Option<bool>,
    /// What commands are kept in.
    pub(crate) sandbox: Option<SandboxName>,
    /// How long a command may take when the model does not say, 120 seconds by default.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) timeout_secs: Option<u64>,
    /// How long a command may take at most, 290 seconds by default; `[limits] tool_secs` bounds it too.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) max_timeout_secs: Option<u64>,
    /// Megabytes of memory of a command: of all its processes where the gateway may make control groups, else of each.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) memory_mb: Option<u64>,
    /// Processes and threads of a command.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub(crate) processes: Option<u64>,
    /// Processor seconds of each process.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) cpu_secs: Option<u64>,
    /// Megabytes of a file a command writes.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) file_mb: Option<u64>,
    /// Megabytes that stay free on the workspace's disk: below it a command is ended.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub(crate) disk_free_mb: Option<u64>,
    /// Bytes of a command's output that are kept: half of them its beginning, half its end.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub(crate) output_bytes: Option<usize>,
    /// Folders and files commands may read besides the system's programs and the workspace, by whole path.
    pub(crate) readable: Vec<PathBuf>,
}

/// What commands are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SandboxName {
    /// The strongest there is; without one no command runs. The default.
    Auto,
    /// Bubblewrap; without it no command runs.
    Bubblewrap,
    /// Nothing: commands may do whatever the gateway's own user may.
    None,
}

/// Pages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebTable {
    /// Whether pages can be fetched at all; true by default.
    pub(crate) enabled: Option<bool>,
    /// Hosts that may be fetched from though they are not on the public internet.
    pub(crate) allow_private: Vec<String>,
    /// Ports besides 80 and 443.
    pub(crate) ports: Vec<u16>,
    /// How long a fetch may take, 30 seconds by default.
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) timeout_secs: Option<u64>,
    /// Bytes of a page that are read, 5 MiB by default.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub(crate) max_bytes: Option<usize>,
}

/// A path from the root: a sandbox begins in another folder than the server.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Reading<'_> {
    /// The settings of the built-in tools.
    pub(crate) fn tools(&mut self, table: &ToolsTable, data: &Path) -> Settings {
        if let Some(path) = table.workspace.as_ref().filter(|path| !path.is_dir()) {
            self.fault(&["tools", "workspace"], format!("there is no folder {}", path.display()));
        }
        let workspace = match &table.workspace {
            Some(path) => WorkspaceSettings::Shared(whole(path)),
            None => WorkspaceSettings::PerSession(whole(&data.join(WORKSPACES))),
        };
        Settings { workspace, shell: self.shell(&table.shell, data), web: self.web(&table.web) }
    }

    fn shell(&mut self, table: &ShellTable, data: &Path) -> ShellSettings {
        let usual = ShellSettings::default();
        let limits = SandboxLimits::default();
        for path in table.readable.iter().filter(|path| !path.is_absolute() || data.starts_with(path)) {
            let message = format!(
                "{}: it is a whole path, and not one above the data folder, which holds every session",
                path.display()
            );
            self.fault(&["tools", "shell", "readable"], message);
        }
        let bytes = |reading: &mut Self, key, stated: Option<u64>, usual: u64, least| {
            let megabytes = reading.within(&["tools", "shell", key], stated, least, MAX_MEGABYTES);
            megabytes.map_or(usual, |megabytes| megabytes * MEGABYTE)
        };
        let timeout = |reading: &mut Self, key, stated, usual: Duration| {
            reading.secs(&["tools", "shell", key], stated, 1).unwrap_or(usual)
        };
        let most = usual.max_timeout;
        ShellSettings {
            enabled: table.enabled.unwrap_or(usual.enabled),
            choice: table.sandbox.map_or(usual.choice, |name| match name {
                SandboxName::Auto => SandboxChoice::Auto,
                SandboxName::Bubblewrap => SandboxChoice::Bubblewrap,
                SandboxName::None => SandboxChoice::None,
            }),
            timeout: timeout(self, "timeout_secs", table.timeout_secs, usual.timeout),
            max_timeout: timeout(self, "max_timeout_secs", table.max_timeout_secs, most),
            output_bytes: self
                .within(&["tools", "shell", "output_bytes"], table.output_bytes, 1024, 1024 * 1024)
                .unwrap_or(usual.output_bytes),
            limits: SandboxLimits {
                cpu_secs: self
                    .secs(&["tools", "shell", "cpu_secs"], table.cpu_secs, 1)
                    .map_or(limits.cpu_secs, |cpu| cpu.as_secs()),
                memory: bytes(self, "memory_mb", table.memory_mb, limits.memory, 1),
                processes: self
                    .within(&["tools", "shell", "processes"], table.processes, 1, MAX_COUNT)
                    .unwrap_or(limits.processes),
                file_bytes: bytes(self, "file_mb", table.file_mb, limits.file_bytes, 1),
                disk_free: bytes(self, "disk_free_mb", table.disk_free_mb, limits.disk_free, 0),
                ..limits
            },
            readable: table.readable.clone(),
        }
    }

    fn web(&mut self, table: &WebTable) -> WebSettings {
        let usual = WebSettings::default();
        for host in &table.allow_private {
            if host.is_empty() || host.contains(['/', '@', ' ', '*']) {
                let message = format!("{host:?} is no host: it is like \"wiki.internal\" or \"10.0.0.7\"");
                self.fault(&["tools", "web", "allow_private"], message);
            }
        }
        let timeout =
            self.secs_within(&["tools", "web", "timeout_secs"], table.timeout_secs, 1..=MAX_WEB_SECS);
        WebSettings {
            enabled: table.enabled.unwrap_or(usual.enabled),
            allow_private: table.allow_private.iter().map(|host| host.to_ascii_lowercase()).collect(),
            ports: table.ports.clone(),
            timeout: timeout.unwrap_or(usual.timeout),
            max_bytes: self
                .within(&["tools", "web", "max_bytes"], table.max_bytes, 1024, 1024 * 1024 * 1024)
                .unwrap_or(usual.max_bytes),
        }
    }

    /// A number at a path of keys, when it is within reason.
    fn within<T: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        path: &[&str],
        stated: Option<T>,
        least: T,
        most: T,
    ) -> Option<T> {
        let number = stated?;
        if (&least..=&most).contains(&&number) {
            return Some(number);
        }
        self.fault(path, format!("{number}: it has to be {least} to {most}"));
        None
    }

    /// The tools of an agent, by the names its table has: those that are built in, and the names and beginnings of
    /// names of those that MCP servers may turn out to have.
    pub(crate) fn agent_tools(
        &mut self,
        agent: &str,
        wanted: &[String],
        (settings, servers): (&Settings, &BTreeMap<String, McpTable>),
    ) -> (Vec<ToolName>, Vec<String>) {
        let (mut tools, mut theirs) = (Vec::new(), Vec::new());
        let mut known = if wanted.is_empty() { Vec::new() } else { moongate_tools::names(settings) };
        // Of the engine itself.
        known.extend(ASK_USER.parse::<ToolName>());
        let is_theirs = |text: &str| {
            servers.keys().any(|server| {
                let own = text.strip_prefix(&ServerSettings::prefix(server));
                own.is_some_and(|own| own == ALL || own.trim_end_matches(ALL).parse::<ToolName>().is_ok())
            })
        };
        for text in wanted {
            if text == ALL {
                tools.extend(known.iter().filter(|name| settings.why_off(name).is_none()).cloned());
                theirs
                    .extend(servers.keys().map(|server| format!("{}{ALL}", ServerSettings::prefix(server))));
                continue;
            }
            if is_theirs(text) {
                theirs.push(text.clone());
                continue;
            }
            let Some(name) = known.iter().find(|name| name.as_str() == text) else {
                let names: Vec<_> = known.iter().map(ToolName::as_str).collect();
                let message = format!(
                    "there is no tool named {text:?}; there are {}, \"NAME__{ALL}\" for those of [mcp.NAME], or \
                     \"{ALL}\"",
                    names.join(", ")
                );
                self.fault(&["agents", agent, "tools"], message);
                continue;
            };
            match settings.why_off(name) {
                None => tools.push(name.clone()),
                Some(why) => {
                    self.fault(&["agents", agent, "tools"], format!("{text} is off here: {why}"));
                }
            }
        }
        tools.sort();
        tools.dedup();
        (tools, theirs)
    }
}
