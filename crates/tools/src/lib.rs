//! The built-in tools: what an agent can do besides talking.
//!
//! A tool is one file of its folder. It reads its arguments into a type of its own, whose JSON Schema the model is
//! told, and does its work with the grant of one call and nothing else. Which calls may run is not decided here.

mod arguments;
pub mod mcp;
mod settings;
mod todo;
mod workspace;

use std::sync::Arc;

use moongate_core::Tool;

pub use self::{
    settings::{Settings, WorkspaceSettings},
    workspace::{Workspace, WorkspaceError, Workspaces},
};

/// Every built-in tool that can run with these settings.
pub fn built_in(_settings: &Settings) -> Vec<Arc<dyn Tool>> {
    vec![Arc::new(todo::Todo::new())]
}
