//! MCP servers, and which agents have their tools.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use moongate_tools::mcp::{Address, Program, ServerLink, ServerSettings};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{
    check::Reading,
    file::{File, SecretRef},
};

/// Variables of ours that a server's program gets: where programs are, and which language is spoken.
const INHERITED: [&str; 2] = ["PATH", "LANG"];
/// Headers that are not the operator's to set.
const RESERVED: [&str; 6] =
    ["host", "accept", "content-type", "content-length", "mcp-session-id", "last-event-id"];

/// How much sooner a call is given up than the engine would end it.
const MARGIN: Duration = Duration::from_secs(1);

/// An MCP server: a program that is started here, or a server elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct McpTable {
    /// The program to start: a name on the search path, or a path. It is spoken to through its standard streams.
    pub(crate) command: Option<PathBuf>,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment, besides `PATH` and `LANG`; a value may be `env:VARIABLE` or `file:/path`.
    pub(crate) env: BTreeMap<String, String>,
    /// The address of a server elsewhere, which speaks streamable HTTP.
    pub(crate) url: Option<String>,
    /// Headers sent with every request; a value may be `env:VARIABLE` or `file:/path`.
    pub(crate) headers: BTreeMap<String, String>,
    /// The tools to take over, by the server's own names; all when left out.
    pub(crate) tools: Option<Vec<String>>,
    /// Whether to believe what the server says of its tools: that one only reads, so that it may run without a
    /// person's word. Without it, each may do anything.
    pub(crate) trust_annotations: bool,
    /// How long to wait for what.
    pub(crate) timeouts: McpTimeoutsTable,
}

/// How long to wait for an MCP server, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct McpTimeoutsTable {
    /// For it to start and to say which tools it has; 30 by default.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) start_secs: Option<u64>,
    /// For the answer to one call; 120 by default, and less than `limits.tool_secs`.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) call_secs: Option<u64>,
}

impl Reading<'_> {
    /// The MCP servers. Programs start in the folder of the configuration file. No call takes as long as the engine
    /// lets a tool run: what then comes of it is said here, where more is known.
    pub(crate) fn mcp(&mut self, file: &File, longest: Duration) -> Vec<ServerSettings> {
        let folder = self.document.texts().folder().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let servers = file.mcp.iter().filter_map(|(name, table)| self.mcp_server(name, table, &folder));
        let most = longest.saturating_sub(MARGIN).max(MARGIN);
        servers.map(|server| ServerSettings { call: server.call.min(most), ..server }).collect()
    }

    fn mcp_server(&mut self, name: &str, table: &McpTable, folder: &Path) -> Option<ServerSettings> {
        if !ServerSettings::is_name(name) {
            let message =
                "a server's name has 1 to 32 letters, digits, '_' or '-', and no two '_' beside each other";
            self.fault(&["mcp", name], message);
            return None;
        }
        let here = ["mcp", name];
        let link = match (&table.command, &table.url) {
            (Some(command), None) => self.program(name, command, table, folder).map(ServerLink::Stdio),
            (None, Some(url)) => self.address(name, url, table).map(ServerLink::Http),
            (Some(_), Some(_)) => {
                self.fault(&["mcp", name, "url"], "there is `command` already: keep one of them");
                None
            }
            (None, None) => {
                let message =
                    format!("[mcp.{name}] needs `command` (a program) or `url` (a server elsewhere)");
                self.fault(&here, message);
                None
            }
        };
        let wait = |reading: &mut Self, key, secs| reading.secs(&["mcp", name, "timeouts", key], secs, 1);
        let start = wait(self, "start_secs", table.timeouts.start_secs).unwrap_or(ServerSettings::START);
        let call = wait(self, "call_secs", table.timeouts.call_secs).unwrap_or(ServerSettings::CALL);
        Some(ServerSettings {
            name: name.to_owned(),
            link: link?,
            only: table.tools.clone(),
            trust_annotations: table.trust_annotations,
            start,
            call,
        })
    }

    fn program(&mut self, name: &str, command: &Path, table: &McpTable, folder: &Path) -> Option<Program> {
        if !table.headers.is_empty() {
            self.fault(&["mcp", name, "headers"], "a program gets no headers: give it `env`");
        }
        let Some(command) = command.to_str().filter(|command| !command.is_empty()) else {
            self.fault(&["mcp", name, "command"], "it is empty");
            return None;
        };
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), self.env.get(name)?.into())));
        let mut env: Vec<(String, SecretString)> = inherited.collect();
        for (variable, value) in &table.env {
            let path = ["mcp", name, "env", variable];
            if variable.is_empty() || variable.contains(['=', '\0']) {
                self.fault(&path, "this is no variable's name");
            }
            env.extend(self.stated(&path, value).map(|value| (variable.clone(), value)));
        }
        Some(Program {
            command: command.to_owned(),
            args: table.args.clone(),
            env,
            folder: folder.to_owned(),
        })
    }

    fn address(&mut self, name: &str, url: &str, table: &McpTable) -> Option<Address> {
        if !table.args.is_empty() || !table.env.is_empty() {
            self.fault(
                &["mcp", name],
                "`args` and `env` are for a program: a server elsewhere gets `headers`",
            );
        }
        let mut headers = Vec::new();
        for (header, value) in &table.headers {
            let path = ["mcp", name, "headers", header];
            let Some(value) = self.stated(&path, value) else { continue };
            match (header.parse::<HeaderName>(), HeaderValue::from_str(value.expose_secret())) {
                (Ok(header), _) if RESERVED.contains(&header.as_str()) => {
                    self.fault(&path, "this header is not yours to set");
                }
                (Ok(header), Ok(value)) => headers.push((header, value)),
                (Err(_), _) => self.fault(&path, "this is no header's name"),
                (_, Err(_)) => self.fault(&path, "its value has characters that a header cannot have"),
            }
        }
        let address = Address::new(url, headers);
        address.map_err(|fault| self.fault(&["mcp", name, "url"], fault.to_string())).ok()
    }

    /// A value that stands in the file, or where the file says.
    fn stated(&mut self, path: &[&str], value: &str) -> Option<SecretString> {
        match value.parse::<SecretRef>() {
            Ok(place) => self.secret(path, &place),
            Err(_) => Some(SecretString::from(value.to_owned())),
        }
    }
}
