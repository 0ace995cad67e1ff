//! The built-in tools: what an agent can do besides talking.
//!
//! A tool is one file of its folder. It reads its arguments into a type of its own, whose JSON Schema the model is
//! told, and does its work with the grant of one call and nothing else. Which calls may run is not decided here.

mod arguments;
mod files;
pub mod mcp;
mod output;
mod sandbox;
mod settings;
mod shell;
mod todo;
mod trust;
mod web;
mod workspace;

use std::sync::Arc;

use moongate_core::Tool;
use moongate_protocol::ToolName;

pub use self::{
    sandbox::{Limits as SandboxLimits, Sandbox, SandboxChoice, Unavailable},
    settings::{Settings, ShellSettings, WorkspaceSettings},
    web::{MachineNetwork, Network, Stream, WebSettings},
    workspace::{
        Entry, FileError, Kind, OpenFile, PathError, Target, Workspace, WorkspaceError, WorkspacePath,
        Workspaces,
    },
};

/// Every built-in tool that can run here with these settings.
pub fn built_in(settings: &Settings) -> Vec<Arc<dyn Tool>> {
    built_in_on(settings, Arc::new(MachineNetwork))
}

/// Every built-in tool that can run here, with another network than the machine's.
pub fn built_in_on(settings: &Settings, network: Arc<dyn Network>) -> Vec<Arc<dyn Tool>> {
    let workspaces = Workspaces::new(settings.workspace.clone());
    let mut tools: Vec<Arc<dyn Tool>> =
        vec![Arc::new(todo::Todo::new()), Arc::new(output::ReadOutput::new())];
    tools.extend(files::tools(&workspaces));
    if let Ok(sandbox) = settings.shell.sandbox() {
        tools.push(Arc::new(shell::Shell::new(settings.shell.clone(), sandbox, workspaces)));
    }
    if settings.web.enabled {
        tools.push(Arc::new(web::WebFetch::new(settings.web.clone(), network)));
    }
    tools
}

/// All built-in tools, whether they can run here or not: to be named and asked about, not to be run.
pub fn all(settings: &Settings) -> Vec<Arc<dyn Tool>> {
    let mut all = settings.clone();
    (all.shell.enabled, all.shell.choice, all.web.enabled) = (true, SandboxChoice::None, true);
    built_in(&all)
}

/// The names of all built-in tools, whether they can run here or not.
pub fn names(settings: &Settings) -> Vec<ToolName> {
    all(settings).iter().map(|tool| tool.spec().name.clone()).collect()
}
