//! Starting a server's program.

use std::{io, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::settings::Program;

/// A program that runs. Dropping it ends it, and everything it started in its process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

/// The standard streams of a program.
pub(super) struct Streams {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) errors: ChildStderr,
}

/// Starts a program, with the environment it was given and nothing of ours.
pub(super) fn start(program: &Program) -> io::Result<(Process, Streams)> {
    let mut command = Command::new(&program.command);
    command.args(&program.args).current_dir(&program.folder).env_clear();
    command.envs(program.env.iter().map(|(name, value)| (name, value.expose_secret())));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let process = Process { child };
    match streams {
        (Some(input), Some(output), Some(errors)) => Ok((process, Streams { input, output, errors })),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // As long as nobody waited for it, its number is its own, and its group's.
        let group = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "an MCP server's process group could not be ended");
        }
    }
}
