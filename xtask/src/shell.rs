//! Starting other programs, and saying what happens.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Why a task did not succeed, in words, and the exit code that says so.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) message: String,
    pub(crate) exit: u8,
}

impl Failed {
    /// The task ran and found something wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: 1 }
    }

    /// The task cannot run at all.
    pub(crate) fn cannot(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: 2 }
    }
}

/// Lines of a program's output that [`run_kept`] gives back.
const KEPT_LINES: usize = 12;

/// Every task runs at the workspace's root, wherever cargo was called.
pub(crate) fn enter_workspace() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    env::set_current_dir(root).map_err(|e| Failed::cannot(format!("cannot enter {}: {e}", root.display())))
}

/// Says something on standard output.
#[expect(clippy::print_stdout, reason = "xtask is a command line program")]
pub(crate) fn report(line: &str) {
    println!("{line}");
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether `cargo NAME` exists.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    cargo()
        .args([name, "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let shown = shown(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|e| Failed::cannot(format!("cannot start `{shown}`: {e}")))?;
    if status.success() { Ok(()) } else { Err(Failed::new(format!("`{shown}` ended with {status}"))) }
}

/// Runs a shell command to its end, shows all its output and gives back the last lines, whatever its end.
pub(crate) fn run_kept(script: &str) -> (Vec<String>, Result<(), Failed>) {
    let mut kept = Vec::new();
    let ended = stream(script, |line| {
        report(&line);
        if kept.len() == KEPT_LINES {
            kept.remove(0);
        }
        kept.push(line);
    });
    (kept, ended)
}

fn stream(script: &str, mut see: impl FnMut(String)) -> Result<(), Failed> {
    let cannot = |e| Failed::cannot(format!("cannot run `{script}`: {e}"));
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            see(String::from_utf8_lossy(&line.map_err(cannot)?).into_owned());
        }
    }
    let status = child.wait().map_err(cannot)?;
    if status.success() { Ok(()) } else { Err(Failed::new(format!("`{script}` ended with {status}"))) }
}

/// What a program says on standard output.
pub(crate) fn read(command: &mut Command) -> Result<String, Failed> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failed::cannot(format!("cannot start `{shown}`: {e}")))?;
    if !output.status.success() {
        return Err(Failed::cannot(format!("`{shown}` ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
