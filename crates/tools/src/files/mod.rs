//! The tools for files: each is a file of this folder, and does its work with an open workspace and nothing else.

mod change;
mod edit;
mod glob;
mod grep;
mod image;
mod list;
mod patch;
mod read;
mod walk;
mod write;

use std::sync::Arc;

use moongate_core::{Grant, Place, PlanNote, Reach, Tool, ToolResult};
use moongate_protocol::ToolOutcome;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    Workspaces, arguments,
    workspace::{FileError, Workspace, WorkspacePath},
};

/// All of them.
pub(crate) fn tools(workspaces: &Workspaces) -> Vec<Arc<dyn Tool>> {
    let all = || workspaces.clone();
    vec![
        Arc::new(read::ReadFile::new(all())),
        Arc::new(list::ListDir::new(all())),
        Arc::new(glob::Glob::new(all())),
        Arc::new(grep::Grep::new(all())),
        Arc::new(image::ViewImage::new(all())),
        Arc::new(write::WriteFile::new(all())),
        Arc::new(edit::EditFile::new(all())),
    ]
}

/// What the work of one call has.
struct Desk {
    workspace: Workspace,
    cancel: CancellationToken,
    /// What the file was that a person saw when they let the call change it.
    operands: Option<[u8; 32]>,
}

impl Desk {
    fn path(&self, text: &str) -> Result<WorkspacePath, FileError> {
        Ok(WorkspacePath::parse(text, Some(self.workspace.path()))?)
    }

    /// # Errors
    /// When the call was told to stop.
    fn go_on(&self) -> Result<(), FileError> {
        if self.cancel.is_cancelled() { Err(FileError::Stopped) } else { Ok(()) }
    }
}

/// Does the work of one call beside the runtime's threads: a disk may be slow.
async fn run<A>(
    workspaces: &Workspaces,
    grant: Grant,
    work: fn(&Desk, &A) -> Result<ToolResult, FileError>,
) -> ToolResult
where
    A: DeserializeOwned + Send + 'static,
{
    let arguments: A = match arguments::read(grant.arguments) {
        Ok(arguments) => arguments,
        Err(refused) => return refused,
    };
    let bound = (grant.cancel, grant.operands);
    on_desk(workspaces, grant.place, bound, move |desk| work(desk, &arguments))
        .await
        .unwrap_or_else(|fault| failed(&fault))
}

/// Does something with the workspace of a session, beside the runtime's threads.
async fn on_desk<R: Send + 'static>(
    workspaces: &Workspaces,
    place: Place,
    (cancel, operands): (CancellationToken, Option<[u8; 32]>),
    work: impl FnOnce(&Desk) -> Result<R, FileError> + Send + 'static,
) -> Result<R, FileError> {
    let workspaces = workspaces.clone();
    let done = tokio::task::spawn_blocking(move || {
        let workspace = workspaces.open(&place)?;
        work(&Desk { workspace, cancel, operands })
    });
    done.await.unwrap_or_else(|_| {
        Err(FileError::Refused("the tool broke off; nobody knows how far it came".into()))
    })
}

/// What a call that changes a file would change, for a person.
async fn foresee<A>(
    workspaces: &Workspaces,
    place: &Place,
    arguments: &Value,
    plan: fn(&Desk, &A) -> Result<PlanNote, FileError>,
) -> Result<Option<PlanNote>, ToolResult>
where
    A: DeserializeOwned + Send + 'static,
{
    let arguments: A = arguments::read(arguments.clone())?;
    let bound = (CancellationToken::new(), None);
    let note = on_desk(workspaces, place.clone(), bound, move |desk| plan(desk, &arguments)).await;
    note.map(Some).map_err(|fault| failed(&fault))
}

/// What the model is told of what was not done.
fn failed(fault: &FileError) -> ToolResult {
    let outcome = match fault {
        FileError::Stopped => ToolOutcome::Cancelled,
        FileError::Protected { .. } => ToolOutcome::Denied,
        _ => ToolOutcome::Error,
    };
    ToolResult::ended(outcome, format!("Not done: {fault}."))
}

/// What a call reaches for whose argument `path` is a file, or the workspace itself where there is none. An absolute
/// path of a session's own workspace is not known here: then only the effect speaks.
fn reach(workspaces: &Workspaces, arguments: &Value) -> Reach {
    let text = arguments.get("path").and_then(Value::as_str).unwrap_or(".");
    match WorkspacePath::parse(text, workspaces.shared()) {
        Ok(path) => Reach::Files(vec![path.text()]),
        Err(_) => Reach::Anything,
    }
}
