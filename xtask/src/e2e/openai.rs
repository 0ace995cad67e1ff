//! `cargo xtask e2e openai`: OpenAI's own clients, and others made for its API, against our server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    PLACE,
    install::{Node, Python},
    server::Server,
    suites::{build, built},
};
use crate::shell::{self, Failed, report};

/// The oldest Node.js, major and minor, that the SDK takes.
const OLDEST_NODE: (u32, u32) = (22, 0);

/// Seconds a coding agent has for its task. It needs a few.
const TASK_SECONDS: &str = "180";

/// What the built-in model says at the end of a task, after it was told what a command said.
const DONE: &str = "The tools have answered";

pub(super) fn run() -> Result<(), Failed> {
    build()?;
    let python = Python::with("openai")?;
    shell::run(Command::new(python.program("python")).arg("e2e/openai/sdk.py").arg(built("moongate")))?;
    let node = Node::with(&python, "openai", OLDEST_NODE)?;
    shell::run(node.script(Path::new("e2e/openai/sdk.mjs"))?.arg(built("moongate")))?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        report("skipped: the coding agents are pinned for Linux on x86-64 only");
        return Ok(());
    }
    let agents = Agents { packages: Node::with(&python, "agents", OLDEST_NODE)?, gate: Gate::start()? };
    agents.codex()?;
    agents.opencode()
}

/// A running Moongate with the built-in model.
struct Gate {
    server: Server,
    key: String,
}

impl Gate {
    fn start() -> Result<Self, Failed> {
        let data = Path::new(PLACE).join("openai-data");
        empty(&data)?;
        let server = Server::start("moongate", |port| {
            let mut command = Command::new(built("moongate"));
            let listen = format!("127.0.0.1:{port}");
            command.args(["--config", "e2e/moongate.toml", "--listen", &listen, "--data"]);
            command.arg(&data).arg("serve");
            command
        })?;
        let key =
            fs::read_to_string(data.join("admin.key")).map_err(|e| cannot("read the server's key", &e))?;
        Ok(Self { server, key: key.trim().to_owned() })
    }
}

/// Coding agents that others wrote, with Moongate as their model provider. Each is asked to run a command: the
/// built-in model calls the tool it is told to, the agent runs it, and the model hears what came of it.
struct Agents {
    packages: Node,
    gate: Gate,
}

impl Agents {
    fn codex(&self) -> Result<(), Failed> {
        let vendor = "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl";
        let task = Task::new("codex", "codex/config.toml", "e2e/agents/codex.toml", self)?;
        let mut command = task.command(&self.packages.file(&format!("{vendor}/bin/codex"))?, &self.gate);
        command.env("CODEX_HOME", task.home.join("codex"));
        command.args(["exec", "--skip-git-repo-check", "--json"]);
        command.arg(r#"/tool exec_command {"cmd":"pwd>seen.txt"}"#);
        task.run(&mut command)
    }

    fn opencode(&self) -> Result<(), Failed> {
        let task = Task::new("opencode", "work/opencode.json", "e2e/agents/opencode.json", self)?;
        let program = self.packages.file("opencode-linux-x64-baseline/bin/opencode")?;
        let mut command = task.command(&program, &self.gate);
        for wish in ["AUTOUPDATE", "DEFAULT_PLUGINS", "LSP_DOWNLOAD", "MODELS_FETCH"] {
            command.env(format!("OPENCODE_DISABLE_{wish}"), "1");
        }
        // Words with spaces would be quoted, and be no command to the model.
        command.args(["run", "--format", "json", "/tool", "bash"]);
        command.arg(r#"{"command":"pwd>seen.txt","description":"looks"}"#);
        task.run(&mut command)
    }
}

/// A task in a folder of its own.
struct Task {
    name: &'static str,
    home: PathBuf,
}

impl Task {
    /// Makes the folder, with the agent's settings at `place` in it.
    fn new(name: &'static str, place: &str, settings: &str, agents: &Agents) -> Result<Self, Failed> {
        let home = std::path::absolute(Path::new(PLACE).join(format!("home-{name}")));
        let home = home.map_err(|e| cannot("name a folder", &e))?;
        empty(&home)?;
        let place = home.join(place);
        let text = fs::read_to_string(settings).map_err(|e| cannot("read an agent's settings", &e))?;
        let text = text.replace("http://127.0.0.1:8137", &agents.gate.server.address());
        let written =
            [place.parent(), Some(&home.join("work"))].into_iter().flatten().try_for_each(fs::create_dir_all);
        written
            .and_then(|()| fs::write(&place, text))
            .map_err(|e| cannot("write an agent's settings", &e))?;
        Ok(Self { name, home })
    }

    /// The agent at work: in the folder, and for no longer than it may take.
    fn command(&self, program: &Path, gate: &Gate) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", TASK_SECONDS]).arg(program);
        let work = self.home.join("work");
        // Some believe what the shell said of where it was.
        command.env("PWD", &work).current_dir(work).env("HOME", &self.home);
        // Not as an argument: those are shown when something fails.
        command.env("MOONGATE_KEY", &gate.key);
        command
    }

    /// The command was run, and what it did was told.
    fn run(&self, command: &mut Command) -> Result<(), Failed> {
        let said = shell::read(command)?;
        let seen = fs::read_to_string(self.home.join("work/seen.txt")).unwrap_or_default();
        if Path::new(seen.trim()) != self.home.join("work") || !said.contains(DONE) {
            return Err(Failed::new(format!("{} did not complete its task; it said:\n{said}", self.name)));
        }
        report(&format!("ok: {}", self.name));
        Ok(())
    }
}

fn cannot(what: &str, e: &std::io::Error) -> Failed {
    Failed::cannot(format!("cannot {what}: {e}"))
}

fn empty(folder: &Path) -> Result<(), Failed> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| cannot("empty a folder", &e))?;
    }
    Ok(())
}
