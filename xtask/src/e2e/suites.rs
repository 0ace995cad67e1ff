//! `cargo xtask e2e suites`: suites that others wrote, against our server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{PLACE, autobahn, install::Python, server::Server};
use crate::shell::{self, Failed};

/// Seconds the short and the long form give to schemathesis. It goes on until they are spent.
const SHORT_SECONDS: &str = "60";
const LONG_SECONDS: &str = "900";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fifteen minutes instead of one for schemathesis.
    #[arg(long)]
    long: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    build()?;
    autobahn::run()?;
    schemathesis(options)
}

/// Requests made from our OpenAPI document, right and wrong ones, alone and in sequences: nothing fails inside,
/// nothing answers what the document does not say.
fn schemathesis(options: &Options) -> Result<(), Failed> {
    let python = Python::with("schemathesis")?;
    let (server, key_file) = moongate()?;
    let key = fs::read_to_string(key_file);
    let key = key.map_err(|e| Failed::cannot(format!("cannot read the server's key: {e}")))?;
    let seconds = if options.long { LONG_SECONDS } else { SHORT_SECONDS };
    let mut command = Command::new(python.program("schemathesis"));
    command.args(["--config-file", "e2e/schemathesis.toml", "run"]);
    command.arg(format!("{}/openapi.json", server.address())).args(["--url", &server.address()]);
    // Not as an argument: those are shown when something fails.
    command.env("MOONGATE_E2E_KEY", key.trim());
    command.args(["--phases", "examples,coverage,fuzzing,stateful", "--mode", "all", "--checks", "all"]);
    // Requests that fit the schema may still be refused: there is no such agent, the time has passed.
    command.args(["--exclude-checks", "positive_data_acceptance", "--continue-on-failure"]);
    command.args(["--request-timeout", "10", "--max-time", seconds, "--no-color"]);
    shell::run(&mut command)
}

/// A server of its own with the built-in model, and where its key is.
pub(super) fn moongate() -> Result<(Server, PathBuf), Failed> {
    let data = Path::new(PLACE).join("moongate-data");
    if data.exists() {
        fs::remove_dir_all(&data)
            .map_err(|e| Failed::cannot(format!("cannot empty {}: {e}", data.display())))?;
    }
    let server = Server::start("moongate", |port| {
        let mut command = Command::new(built("moongate"));
        command.args(["--config", "e2e/moongate.toml", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(&data).arg("serve");
        command
    })?;
    Ok((server, data.join("admin.key")))
}

/// Builds our program and the examples. With them come the features of tests, so that nothing is built twice where
/// both are.
pub(super) fn build() -> Result<(), Failed> {
    shell::run(shell::cargo().args(["build", "--workspace", "--bin", "moongate", "--examples"]))
}

/// A program of ours.
pub(super) fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(&target).join("debug").join(name)
}
