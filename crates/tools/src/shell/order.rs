//! What a model wants to be run.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use moongate_core::ToolResult;
use moongate_protocol::ToolOutcome;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{ShellSettings, arguments};

/// Most arguments of a program, and bytes of one of them: the kernel takes 128 KiB.
const ARGUMENTS: usize = 1024;
const ARGUMENT_BYTES: usize = 100 * 1024;
/// What reads a line.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// A line for /bin/sh. Give either this or `argv`.
    #[schemars(length(min = 1, max = ARGUMENT_BYTES))]
    command: Option<String>,
    /// A program and its arguments, run without a shell. Give either this or `command`.
    #[schemars(length(min = 1, max = ARGUMENTS))]
    argv: Option<Vec<String>>,
    /// After how many seconds it is stopped.
    #[schemars(range(min = 1))]
    timeout_secs: Option<u64>,
    /// The folder to begin in, beneath the workspace.
    cwd: Option<String>,
}

/// What is to be run, made sure of.
#[derive(Debug)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Where it begins, beneath the workspace; may be empty.
    pub(super) folder: PathBuf,
    /// When it is stopped.
    pub(super) timeout: Duration,
}

impl Order {
    /// Reads arguments that passed the schema.
    ///
    /// # Errors
    /// With the result the model is told.
    pub(super) fn read(arguments: Value, settings: &ShellSettings) -> Result<Self, ToolResult> {
        let wish: Arguments = arguments::read(arguments)?;
        let argv = match (wish.command, wish.argv) {
            (Some(line), None) => SHELL.map(str::to_owned).into_iter().chain([line]).collect(),
            (None, Some(argv)) => argv,
            _ => return Err(refused("Give either `command` or `argv`.")),
        };
        let fits = |text: &String| text.len() <= ARGUMENT_BYTES && !text.contains('\0');
        if !argv.iter().all(fits) {
            return Err(refused("An argument is too long or holds a NUL."));
        }
        // The sandbox takes what begins with a dash for an option of its own.
        if argv.first().is_none_or(|program| program.is_empty() || program.starts_with('-')) {
            return Err(refused("The first of `argv` is a program."));
        }
        let folder = beneath(wish.cwd.as_deref().unwrap_or_default())
            .ok_or_else(|| refused("`cwd` is a folder beneath the workspace, such as `src`."))?;
        let secs = wish.timeout_secs.map(Duration::from_secs);
        let timeout = secs.unwrap_or(settings.timeout).min(settings.max_timeout);
        Ok(Self { argv, folder, timeout })
    }
}

/// A path beneath the workspace, without steps upwards. Links on it lead nowhere but in the sandbox.
fn beneath(text: &str) -> Option<PathBuf> {
    let text = text.strip_prefix(crate::sandbox::FOLDER).map_or(text, |rest| rest.trim_start_matches('/'));
    let is_plain = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let parts = Path::new(text).components();
    (parts.clone().all(|part| is_plain(&part)) && !text.contains('\0'))
        .then(|| parts.filter(|part| *part != Component::CurDir).collect())
}

fn refused(why: &str) -> ToolResult {
    ToolResult::ended(ToolOutcome::Error, why)
}
