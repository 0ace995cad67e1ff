//! What an operator may set about tools, as the configuration decided it.

use std::{path::PathBuf, time::Duration};

use moongate_protocol::ToolName;

use crate::{Sandbox, SandboxChoice, SandboxLimits, Unavailable, WebSettings, shell, web};

/// How long a command may take when nobody says.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a command may take at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(290);
/// Bytes of a command's output that are kept: as much as a model is shown of a result.
const OUTPUT_BYTES: usize = 60 * 1024;

/// The settings of all built-in tools.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where files are read and written.
    pub workspace: WorkspaceSettings,
    /// Commands.
    pub shell: ShellSettings,
    /// Pages.
    pub web: WebSettings,
}

impl Settings {
    /// Why a built-in tool cannot run here, if it cannot. Finding it out may take a moment the first time.
    pub fn why_off(&self, tool: &ToolName) -> Option<String> {
        match tool.as_str() {
            shell::NAME => self.shell.sandbox().err().map(|why| why.to_string()),
            web::NAME if !self.web.enabled => Some("[tools.web] enabled is false".into()),
            _ => None,
        }
    }
}

/// How commands are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellSettings {
    /// Whether commands can be run at all.
    pub enabled: bool,
    /// What they are kept in.
    pub choice: SandboxChoice,
    /// How long one may take when the model does not say.
    pub timeout: Duration,
    /// How long one may take at most.
    pub max_timeout: Duration,
    /// Bytes of its output that are kept.
    pub output_bytes: usize,
    /// How much of the machine one may take.
    pub limits: SandboxLimits,
    /// Folders and files commands may read besides the system and the workspace.
    pub readable: Vec<PathBuf>,
}

impl Default for ShellSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            choice: SandboxChoice::default(),
            timeout: TIMEOUT,
            max_timeout: MAX_TIMEOUT,
            output_bytes: OUTPUT_BYTES,
            limits: SandboxLimits::default(),
            readable: Vec::new(),
        }
    }
}

impl ShellSettings {
    /// What commands are kept in here. Finding it out takes a moment the first time.
    ///
    /// # Errors
    /// When no command can be run, with the reason.
    pub fn sandbox(&self) -> Result<Sandbox, Unavailable> {
        if self.enabled { Sandbox::find(self.choice) } else { Err(Unavailable::switched_off()) }
    }
}

/// Where files are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkspaceSettings {
    /// One folder for all sessions.
    Shared(PathBuf),
    /// A folder for each session, made when it is first used, beneath this one.
    PerSession(PathBuf),
}
