//! `list_dir`: what is in a folder.

use std::fmt::Write as _;

use async_trait::async_trait;
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Desk, reach, run};
use crate::{
    Workspaces, arguments,
    workspace::{FileError, Kind, WorkspacePath, name},
};

/// Entries that are shown.
const ENTRIES: usize = 1000;
/// Bytes that are shown: below what core would cut.
const SHOWN_BYTES: usize = 60 * 1024;

const DESCRIPTION: &str = "Lists a folder of the workspace: folders end in /, links in @, files are followed by their \
     size. A name in quotes is a JSON string.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Folder {
    /// The folder, relative to the workspace; the workspace itself where it is left out.
    #[serde(default = "here")]
    path: String,
}

fn here() -> String {
    ".".into()
}

/// The tool.
pub(super) struct ListDir {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl ListDir {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Folder>("list_dir", DESCRIPTION, Effect::Read), workspaces }
    }
}

#[async_trait]
impl Tool for ListDir {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        reach(&self.workspaces, arguments)
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        run(&self.workspaces, grant, work).await
    }
}

fn work(desk: &Desk, folder: &Folder) -> Result<ToolResult, FileError> {
    let path = desk.path(&folder.path)?;
    let (entries, mut more) = desk.workspace.list(&path, ENTRIES)?;
    let mut text = String::new();
    for entry in &entries {
        desk.go_on()?;
        let shown = name::shown(&entry.name);
        if text.len() + shown.len() > SHOWN_BYTES {
            more = true;
            break;
        }
        let _ = match entry.kind {
            Kind::Folder => writeln!(text, "{shown}/"),
            Kind::Link => writeln!(text, "{shown}@"),
            Kind::Special => writeln!(text, "{shown} (a device, a pipe or a socket)"),
            Kind::File => match bytes(desk, &path, &entry.name) {
                Some(bytes) => writeln!(text, "{shown} ({bytes} bytes)"),
                None => writeln!(text, "{shown}"),
            },
        };
    }
    if more {
        text.push_str("[there is more: use glob]");
    }
    if text.is_empty() {
        text.push_str("[the folder is empty]");
    }
    Ok(ToolResult::ok(text))
}

fn bytes(desk: &Desk, folder: &WorkspacePath, name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?;
    desk.workspace.bytes_of(&folder.join(name)?)
}
