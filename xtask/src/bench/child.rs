//! A program that runs beside us and ends with us.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::stage::pause;
use crate::shell::Failed;

/// Longest wait for a program's first line.
const FIRST_LINE: Duration = Duration::from_secs(20);
/// How often an ending program is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Programs that start others; those the machine lacks are left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starters {
    /// `setpriv`: what we started ends when we are killed.
    pub(super) setpriv: bool,
    /// `taskset`: each program has its core.
    pub(super) taskset: bool,
}

/// A running program; dropping it ends it.
pub(super) struct Running {
    child: Child,
    /// Kept open, so that the program can go on writing.
    _output: Option<ChildStdout>,
}

impl Starters {
    pub(super) fn find() -> Self {
        let found = |program: &str| {
            let mut asked = Command::new(program);
            asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self { setpriv: found("setpriv"), taskset: several && found("taskset") }
    }

    /// A program on a core.
    pub(super) fn command(self, core: usize, program: &[OsString]) -> Command {
        let core = core.to_string();
        let tie = ["setpriv", "--pdeathsig", "KILL"].into_iter().filter(|_| self.setpriv);
        let pin = ["taskset", "-c", &core].into_iter().filter(|_| self.taskset);
        let mut words = tie.chain(pin).map(OsString::from).chain(program.iter().cloned());
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null());
        command
    }
}

impl Running {
    /// Starts a program that may say what it likes.
    pub(super) fn start(mut command: Command) -> Result<Self, Failed> {
        command.stdout(Stdio::null());
        let child = command.spawn().map_err(|e| Failed::cannot(format!("cannot start {command:?}: {e}")))?;
        Ok(Self { child, _output: None })
    }

    /// Starts a program and waits for its first line.
    pub(super) fn start_and_hear(mut command: Command) -> Result<(Self, String), Failed> {
        command.stdout(Stdio::piped());
        let child = command.spawn().map_err(|e| Failed::cannot(format!("cannot start {command:?}: {e}")))?;
        let mut running = Self { child, _output: None };
        let Some(output) = running.child.stdout.take() else { return Err(Failed::cannot("no output")) };
        let (tell, told) = mpsc::sync_channel(1);
        let line = thread::scope(|scope| {
            scope.spawn(move || {
                let (mut reader, mut line) = (BufReader::new(output), String::new());
                let read = reader.read_line(&mut line);
                // Who asked waits for it, or gave up.
                tell.send(read.map(|_| (line, reader.into_inner()))).ok();
            });
            let heard = told.recv_timeout(FIRST_LINE);
            if heard.is_err() {
                // Its end ends the reading.
                running.end();
            }
            heard
        });
        match line {
            Ok(Ok((line, output))) if !line.is_empty() => {
                running._output = Some(output);
                Ok((running, line.trim_end().to_owned()))
            }
            _ => Err(Failed::new(format!("{command:?} did not say where it listens"))),
        }
    }

    /// Runs a program to its end and gives what it said; ends it when it takes longer than `most`.
    pub(super) fn read(mut command: Command, most: Duration) -> Result<String, Failed> {
        command.stdout(Stdio::piped());
        let child = command.spawn().map_err(|e| Failed::cannot(format!("cannot start {command:?}: {e}")))?;
        let mut running = Self { child, _output: None };
        let began = Instant::now();
        let status = loop {
            let ended = running.child.try_wait().map_err(|e| Failed::cannot(e.to_string()))?;
            match ended {
                Some(status) => break status,
                None if began.elapsed() > most => {
                    return Err(Failed::new(format!("{command:?} took longer than {most:?}")));
                }
                None => pause(LOOK),
            }
        };
        let mut said = String::new();
        if let Some(output) = &mut running.child.stdout {
            output.read_to_string(&mut said).map_err(|e| Failed::cannot(e.to_string()))?;
        }
        if status.success() { Ok(said) } else { Err(Failed::new(format!("{command:?} ended with {status}"))) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended by itself.
    pub(super) fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) {
        // It may have ended already; either way there is nothing left of it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
