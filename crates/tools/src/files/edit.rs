//! `edit_file`: changes a part of a file, given as the text that is replaced or as a unified diff.

use async_trait::async_trait;
use moongate_core::{Grant, Place, PlanNote, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Desk, change::Change, foresee, patch, reach, run};
use crate::{
    Workspaces, arguments,
    workspace::{FileError, WorkspacePath},
};

/// Bytes of a file that is edited.
const EDITED_BYTES: u64 = 8 * 1024 * 1024;

const DESCRIPTION: &str = "Changes a text file of the workspace. Give either `old` and `new`: `old` is text of the file, to \
     the letter and without line numbers, that is there once (or set `all`), and is replaced by `new`. Or give `patch`: a \
     unified diff of this file, whose context and removed lines are those of the file to the letter.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// The file, relative to the workspace.
    path: String,
    /// The text to replace.
    #[serde(default)]
    old: Option<String>,
    /// What takes its place.
    #[serde(default)]
    new: Option<String>,
    /// Replace it wherever it is.
    #[serde(default)]
    all: bool,
    /// A unified diff.
    #[serde(default)]
    patch: Option<String>,
}

/// The tool.
pub(super) struct EditFile {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl EditFile {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Edit>("edit_file", DESCRIPTION, Effect::Effect), workspaces }
    }
}

#[async_trait]
impl Tool for EditFile {
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

fn plan(desk: &Desk, edit: &Edit) -> Result<PlanNote, FileError> {
    let target = desk.workspace.target(&desk.path(&edit.path)?)?;
    let before = target.read(EDITED_BYTES)?;
    let after = edit.apply(target.path(), before.as_deref())?;
    Ok(Change { path: target.path(), before: before.as_deref(), after: &after }.note())
}

fn work(desk: &Desk, edit: &Edit) -> Result<ToolResult, FileError> {
    let target = desk.workspace.target(&desk.path(&edit.path)?)?;
    let path = target.path().clone();
    let before = target.read(EDITED_BYTES)?;
    let after = edit.apply(&path, before.as_deref())?;
    let change = Change { path: &path, before: before.as_deref(), after: &after };
    change.check(desk)?;
    target.write(after.as_bytes())?;
    Ok(change.result())
}

impl Edit {
    /// What the file will hold.
    fn apply(&self, path: &WorkspacePath, before: Option<&[u8]>) -> Result<String, FileError> {
        let refuse = |why: &str| Err(FileError::Refused(why.into()));
        let text = match before {
            Some(before) => std::str::from_utf8(before)
                .map_err(|_| FileError::Refused(format!("{} is no text in UTF-8", path.shown())))?,
            // A diff may make a file.
            None if self.patch.is_some() => "",
            None => return Err(FileError::Missing(path.shown())),
        };
        match (&self.old, &self.new, &self.patch) {
            (Some(old), Some(new), None) => replace(text, old, new, self.all),
            (None, None, Some(_)) if self.all => refuse("`all` goes with `old` and `new`"),
            (None, None, Some(diff)) => {
                patch::apply(text, &ends_like(text, diff)).map_err(FileError::Refused)
            }
            _ => refuse("give `old` and `new`, or `patch`"),
        }
    }
}

fn replace(text: &str, old: &str, new: &str, all: bool) -> Result<String, FileError> {
    let refuse = |why: String| Err(FileError::Refused(why));
    if old.is_empty() {
        return refuse("`old` is empty: to write a whole file, use write_file".into());
    }
    let (old, new) = (ends_like(text, old), ends_like(text, new));
    if old == new {
        return refuse("`old` and `new` are the same".into());
    }
    match text.matches(&*old).count() {
        0 => refuse("`old` is nowhere in the file: read it again, and give the text to the letter".into()),
        1 => Ok(text.replacen(&*old, &new, 1)),
        _ if all => Ok(text.replace(&*old, &new)),
        times => refuse(format!(
            "`old` is {times} times in the file: give more of what is around it, or set `all`"
        )),
    }
}

/// Text with lines that end as the file's do, where all of those end in CR LF: a model does not see how lines end.
fn ends_like(file: &str, text: &str) -> String {
    let lines = file.matches('\n').count();
    if lines > 0 && file.matches("\r\n").count() == lines && !text.contains('\r') {
        text.replace('\n', "\r\n")
    } else {
        text.to_owned()
    }
}
