//! `shell`: a command in the session's workspace, in a sandbox.

mod order;
mod output;
mod plain;

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use async_trait::async_trait;
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, Part, ToolOutcome, ToolSpec};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::{
    order::{Arguments, Order},
    output::Output,
    plain::Plain,
};
use crate::{
    ShellSettings, Workspace, Workspaces, arguments,
    sandbox::{Job, Program, Sandbox},
};

/// Its name.
pub(crate) const NAME: &str = "shell";
/// Bytes read from a program at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes a program may write before it is ended: nobody reads them, and reading them costs.
const WRITTEN_BYTES: u64 = 64 * 1024 * 1024;
/// How often the disk is looked at. A program writes some hundred megabytes meanwhile.
const DISK_LOOK: Duration = Duration::from_millis(200);
/// Added to a signal's number in exit codes (POSIX `sh`, bubblewrap).
const SIGNAL_BASE: i32 = 128;

const DESCRIPTION: &str = "Runs a command in the workspace and returns what it wrote, errors included, and its exit \
     code. Give `command`, a line for /bin/sh, or `argv`, a program with its arguments. It runs in a sandbox: the \
     workspace is /workspace, nothing else of the machine can be written, there is no network, and nothing it starts \
     goes on after it ended.";

/// The tool.
pub(crate) struct Shell {
    spec: ToolSpec,
    settings: ShellSettings,
    sandbox: Sandbox,
    workspaces: Workspaces,
}

/// The result's data.
#[derive(Serialize)]
struct Facts {
    /// Absent when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Stopped>,
    output_bytes: u64,
    truncated: bool,
    duration_ms: u64,
    sandbox: String,
}

/// Why a program was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stopped {
    Cancelled,
    Timeout,
    Output,
    Disk,
}

/// What a program did.
struct Ran {
    ended: io::Result<ExitStatus>,
    stopped: Option<Stopped>,
    output: Output,
    output_bytes: u64,
    took: Duration,
}

impl Shell {
    pub(crate) fn new(settings: ShellSettings, sandbox: Sandbox, workspaces: Workspaces) -> Self {
        let spec = arguments::spec::<Arguments>(NAME, DESCRIPTION, Effect::Effect);
        Self { spec, settings, sandbox, workspaces }
    }

    async fn start(&self, grant: &Grant, order: &Order) -> Result<(Workspace, Program), String> {
        let (workspaces, place) = (self.workspaces.clone(), grant.place.clone());
        let opened = tokio::task::spawn_blocking(move || workspaces.open(&place)).await;
        let workspace = match opened {
            Ok(Ok(workspace)) => workspace,
            Ok(Err(fault)) => return Err(fault.to_string()),
            Err(fault) => return Err(fault.to_string()),
        };
        let job = Job {
            argv: &order.argv,
            workspace: &workspace,
            folder: &order.folder,
            readable: &self.settings.readable,
            limits: &self.settings.limits,
        };
        let program = self.sandbox.start(grant, &job).await.map_err(|fault| fault.to_string())?;
        Ok((workspace, program))
    }

    async fn follow(&self, mut program: Program, workspace: &Workspace, grant: &Grant, order: &Order) -> Ran {
        let started = Instant::now();
        let deadline = started + order.timeout;
        let (mut output, mut plain) = (Output::new(self.settings.output_bytes), Plain::default());
        let mut output_bytes = 0;
        let mut piece = vec![0; PIECE_BYTES];
        let mut disk = interval(DISK_LOOK);
        disk.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_open = true;
        let stopped = loop {
            tokio::select! {
                biased;
                () = grant.cancel.cancelled() => break Some(Stopped::Cancelled),
                () = sleep_until(deadline) => break Some(Stopped::Timeout),
                _ = disk.tick() => {
                    if self.is_full(workspace) {
                        break Some(Stopped::Disk);
                    }
                }
                gone = program.first.gone(), if !is_open => {
                    if let Err(error) = gone {
                        tracing::error!(%error, "the end of a call's processes cannot be seen");
                    }
                    break None;
                }
                read = program.output.read(&mut piece), if is_open => match read {
                    // Whoever writes nothing any more may still run.
                    Ok(0) | Err(_) => is_open = false,
                    Ok(length) => {
                        output_bytes += length as u64;
                        let text = plain.take(&piece[..length]);
                        output.add(&text);
                        // Live output may be lost: the result is what counts.
                        drop(grant.output.try_send(text));
                        if output_bytes > WRITTEN_BYTES {
                            break Some(Stopped::Output);
                        }
                    }
                },
            }
        };
        output.add(&plain.finish());
        if stopped.is_some() {
            program.kill();
        }
        Ran { ended: program.end().await, stopped, output, output_bytes, took: started.elapsed() }
    }

    fn is_full(&self, workspace: &Workspace) -> bool {
        let disk = rustix::fs::fstatvfs(workspace.folder());
        disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < self.settings.limits.disk_free)
    }

    fn result(&self, ran: Ran, order: &Order) -> ToolResult {
        let code = ran
            .ended
            .as_ref()
            .ok()
            .and_then(|ended| ended.code().or_else(|| ended.signal().map(|signal| SIGNAL_BASE + signal)));
        let signal = code.filter(|code| *code > SIGNAL_BASE).map(|code| code - SIGNAL_BASE);
        let facts = Facts {
            exit_code: code.filter(|_| signal.is_none() && ran.stopped.is_none()),
            signal: signal.filter(|_| ran.stopped.is_none()),
            stopped: ran.stopped,
            output_bytes: ran.output_bytes,
            truncated: ran.output.is_cut(),
            duration_ms: u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX),
            sandbox: self.sandbox.to_string(),
        };
        let (outcome, ending) = match (ran.stopped, facts.exit_code, signal) {
            (Some(Stopped::Cancelled), ..) => (ToolOutcome::Cancelled, "[stopped]".to_owned()),
            (Some(Stopped::Timeout), ..) => {
                let secs = order.timeout.as_secs();
                (ToolOutcome::Error, format!("[stopped: it took longer than {secs} seconds]"))
            }
            (Some(Stopped::Output), ..) => (ToolOutcome::Error, "[stopped: it wrote too much]".to_owned()),
            (Some(Stopped::Disk), ..) => {
                (ToolOutcome::Error, "[stopped: the disk is nearly full]".to_owned())
            }
            (None, Some(0), _) => (ToolOutcome::Ok, String::new()),
            (None, Some(code), _) => (ToolOutcome::Error, format!("[exit code {code}]")),
            (None, None, Some(signal)) => (ToolOutcome::Error, format!("[ended by signal {signal}]")),
            (None, None, None) => (ToolOutcome::Unknown, "[it is not known how it ended]".to_owned()),
        };
        let mut text = ran.output.text();
        if !text.is_empty() && !text.ends_with('\n') && !ending.is_empty() {
            text.push('\n');
        }
        text.push_str(&ending);
        if text.is_empty() {
            text.push_str("[it wrote nothing]");
        }
        // Numbers and words always have a JSON form.
        ToolResult { outcome, content: vec![Part::text(text)], data: serde_json::to_value(&facts).ok() }
    }
}

#[async_trait]
impl Tool for Shell {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        match Order::read(arguments.clone(), &self.settings) {
            Ok(order) => Reach::Command(order.argv),
            // It will be told what is wrong, and nothing runs.
            Err(_) => Reach::Anything,
        }
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        let order = match Order::read(grant.arguments.clone(), &self.settings) {
            Ok(order) => order,
            Err(refused) => return refused,
        };
        let started = tokio::select! {
            started = self.start(&grant, &order) => started,
            () = grant.cancel.cancelled() => {
                return ToolResult::ended(ToolOutcome::Cancelled, "[stopped before it began]");
            }
        };
        let (workspace, program) = match started {
            Ok(started) => started,
            Err(why) => {
                return ToolResult::ended(ToolOutcome::Error, format!("The command did not run: {why}."));
            }
        };
        let ran = self.follow(program, &workspace, &grant, &order).await;
        self.result(ran, &order)
    }
}
