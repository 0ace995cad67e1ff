//! `cargo xtask e2e openai`: OpenAI's own clients, and others made for its API, against our server.

use std::{fs, path::Path, process::Command};

use super::{
    PLACE,
    install::{Node, Python},
    server::Server,
    suites::built,
};
use crate::shell::{self, Failed};

/// The oldest Node.js, major and minor, that the SDK takes.
const OLDEST_NODE: (u32, u32) = (22, 0);

pub(super) fn run() -> Result<(), Failed> {
    shell::run(shell::cargo().args(["build", "--package", "moongate", "--bin", "moongate"]))?;
    let python = Python::with("openai")?;
    shell::run(Command::new(python.program("python")).arg("e2e/openai/sdk.py").arg(built("moongate")))?;
    let node = Node::with(&python, "openai", OLDEST_NODE)?;
    let cannot = |what: &str, e| Failed::cannot(format!("cannot {what}: {e}"));
    let data = Path::new(PLACE).join("openai-data");
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|e| cannot("empty the data folder", e))?;
    }
    let server = Server::start("moongate", |port| {
        let mut command = Command::new(built("moongate"));
        command.args(["--config", "e2e/moongate.toml", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(&data).arg("serve");
        command
    })?;
    let key = fs::read_to_string(data.join("admin.key")).map_err(|e| cannot("read the server's key", e))?;
    let mut script = node.script(Path::new("e2e/openai/sdk.mjs"))?;
    // Not as an argument: those are shown when something fails.
    script.env("MOONGATE_E2E_KEY", key.trim());
    shell::run(script.env("MOONGATE_E2E_URL", format!("{}/openai/v1", server.address())))
}
