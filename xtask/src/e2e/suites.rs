//! `cargo xtask e2e suites`: suites that others wrote, against our server.

use std::{fs, path::Path, process::Command};

use super::{PLACE, install::Python, install::Python27, server::Server};
use crate::shell::{self, Failed, report};

/// Seconds the short and the long form give to schemathesis. It goes on until they are spent.
const SHORT_SECONDS: &str = "60";
const LONG_SECONDS: &str = "900";

/// Cases of the Autobahn suite that must have run: it ends well, too, when it could not connect.
const AUTOBAHN_CASES: usize = 293;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fifteen minutes instead of one for schemathesis.
    #[arg(long)]
    long: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    build()?;
    autobahn()?;
    schemathesis(options)
}

/// Requests made from our OpenAPI document, right and wrong ones, alone and in sequences: nothing fails inside,
/// nothing answers what the document does not say.
fn schemathesis(options: &Options) -> Result<(), Failed> {
    let python = Python::with("schemathesis")?;
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
    let key = fs::read_to_string(data.join("admin.key"));
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

/// The WebSocket protocol, frame by frame, against an echo server set up as the native door's sockets.
fn autobahn() -> Result<(), Failed> {
    let Some(python) = Python27::with("autobahn")? else {
        report("skipped: the Autobahn suite needs python2.7; tests/ws_conformance.rs has its key cases");
        return Ok(());
    };
    let server = Server::start("ws_echo", |port| {
        let mut command = Command::new(built("examples/ws_echo"));
        command.arg(port.to_string());
        command
    })?;
    let spec = Path::new(PLACE).join("autobahn.json");
    let cannot = |what: &str, e: &dyn std::fmt::Display| Failed::cannot(format!("cannot {what}: {e}"));
    let text = fs::read_to_string("e2e/autobahn.json").map_err(|e| cannot("read e2e/autobahn.json", &e))?;
    fs::write(&spec, text.replace("PORT", &server.port().to_string()))
        .map_err(|e| cannot("write the suite's settings", &e))?;
    let mut wstest = Command::new(python.program("wstest"));
    shell::read(wstest.args(["--mode", "fuzzingclient", "--spec"]).arg(&spec))?;
    let index = Path::new(PLACE).join("autobahn/index.json");
    let index = fs::read_to_string(index).map_err(|e| cannot("read the suite's report", &e))?;
    judge(&index)
}

/// Reads the suite's own verdict on each case.
fn judge(index: &str) -> Result<(), Failed> {
    let index: serde_json::Value = serde_json::from_str(index)
        .map_err(|e| Failed::cannot(format!("the suite's report is not JSON: {e}")))?;
    let cases =
        index["moongate"].as_object().map(|cases| cases.iter().collect::<Vec<_>>()).unwrap_or_default();
    let good =
        |verdict: &serde_json::Value| matches!(verdict.as_str(), Some("OK" | "NON-STRICT" | "INFORMATIONAL"));
    let failed = cases.iter().filter(|(_, case)| !good(&case["behavior"]) || !good(&case["behaviorClose"]));
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    report(&format!("Autobahn: {} cases, {} failed {}", cases.len(), failed.len(), failed.join(" ")));
    if cases.len() < AUTOBAHN_CASES {
        return Err(Failed::new(format!("of {AUTOBAHN_CASES} Autobahn cases only {} ran", cases.len())));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failed::new("Autobahn cases failed")) }
}

/// Builds our program and the examples. With them come the features of tests, so that nothing is built twice where
/// both are.
pub(super) fn build() -> Result<(), Failed> {
    shell::run(shell::cargo().args(["build", "--workspace", "--bin", "moongate", "--examples"]))
}

/// A program of ours.
pub(super) fn built(name: &str) -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(&target).join("debug").join(name)
}
