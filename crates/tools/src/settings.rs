//! What an operator may set about tools, as the configuration decided it.

use std::path::PathBuf;

/// The settings of all built-in tools.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where files are read and written.
    pub workspace: WorkspaceSettings,
}

/// Where files are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkspaceSettings {
    /// One folder for all sessions.
    Shared(PathBuf),
    /// A folder for each session, made when it is first used, beneath this one.
    PerSession(PathBuf),
}
