//! `write_file`: puts a whole text into a file.

use async_trait::async_trait;
use moongate_core::{Grant, Place, PlanNote, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Desk, change::Change, foresee, reach, run};
use crate::{Workspaces, arguments, workspace::FileError};

/// Bytes of a file that is replaced: larger ones are not read to show what changed.
pub(super) const REPLACED_BYTES: u64 = 8 * 1024 * 1024;

const DESCRIPTION: &str = "Writes a text file of the workspace: makes it, with the folders on the way, or replaces all it \
     holds. To change a part of a file, use edit_file.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Text {
    /// The file, relative to the workspace.
    path: String,
    /// All the file will hold.
    content: String,
}

/// The tool.
pub(super) struct WriteFile {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl WriteFile {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        // Not idempotent: between the first run and another one somebody may have changed the file.
        Self { spec: arguments::spec::<Text>("write_file", DESCRIPTION, Effect::Effect), workspaces }
    }
}

#[async_trait]
impl Tool for WriteFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        reach(&self.workspaces, arguments)
    }

    async fn plan(&self, place: &Place, arguments: &Value) -> Result<Option<PlanNote>, ToolResult> {
        foresee(&self.workspaces, place, arguments, plan).await
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        run(&self.workspaces, grant, work).await
    }
}

fn plan(desk: &Desk, text: &Text) -> Result<PlanNote, FileError> {
    let target = desk.workspace.target(&desk.path(&text.path)?)?;
    let before = target.read(REPLACED_BYTES)?;
    Ok(Change { path: target.path(), before: before.as_deref(), after: &text.content }.note())
}

fn work(desk: &Desk, text: &Text) -> Result<ToolResult, FileError> {
    let target = desk.workspace.target(&desk.path(&text.path)?)?;
    let path = target.path().clone();
    let before = target.read(REPLACED_BYTES)?;
    let change = Change { path: &path, before: before.as_deref(), after: &text.content };
    change.check(desk)?;
    target.write(change.after.as_bytes())?;
    Ok(change.result())
}
