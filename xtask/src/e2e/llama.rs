//! `cargo xtask e2e llama`: our chat codec against a real engine. Not in the gate: building the engine takes
//! minutes.

use std::{path::Path, process::Command};

use super::{PLACE, install::Python, run_third_party, server::Server};
use crate::shell::{self, Failed};

/// Tokens of context; the model has no more.
const CONTEXT: &str = "4096";

pub(crate) fn run() -> Result<(), Failed> {
    let python = Python::with("llama")?;
    let model = Path::new(PLACE).join("tiny.gguf");
    shell::run(Command::new(python.program("python")).arg("e2e/llama/model.py").arg(&model))?;
    let engine = Server::start("llama", |port| {
        let mut command = Command::new(python.program("python"));
        command.args(["e2e/llama/serve.py", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--chat_format", "first-tool", "--n_ctx", CONTEXT, "--n_threads", "1"]);
        // Otherwise a new request ends the one before, and nobody sees whether hanging up did.
        command.args(["--interrupt_requests", "false"]).arg("--model").arg(&model);
        command
    })?;
    run_third_party(&["llama::"], &[("MOONGATE_E2E_LLAMA", engine.address())])
}
