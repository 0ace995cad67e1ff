//! Starting a server's program.

use std::{io, path::Path};

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::settings::Program;
use crate::sandbox::{Own, start_own};

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
    let mut child = start_own(&Own {
        program: Path::new(&program.command),
        arguments: &program.args,
        environment: program.env.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect(),
        folder: &program.folder,
    })?;
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
