//! The built-in tools: what an agent can do besides talking.
//!
//! A tool is one file of its folder. It reads its arguments into a type of its own, whose JSON Schema the model is
//! told, and does its work with the grant of one call and nothing else. Which calls may run is not decided here.

mod arguments;
mod files;
mod output;
mod settings;
mod todo;
mod workspace;

use std::sync::Arc;

use moongate_core::Tool;

pub use self::{
    settings::{Settings, WorkspaceSettings},
    workspace::{
        Entry, FileError, Kind, OpenFile, PathError, Target, Workspace, WorkspaceError, WorkspacePath,
        Workspaces,
    },
};

/// Every built-in tool that can run with these settings.
pub fn built_in(settings: &Settings) -> Vec<Arc<dyn Tool>> {
    let workspaces = Workspaces::new(settings.workspace.clone());
    let mut tools: Vec<Arc<dyn Tool>> =
        vec![Arc::new(todo::Todo::new()), Arc::new(output::ReadOutput::new())];
    tools.extend(files::tools(&workspaces));
    tools
}
