//! `cargo xtask e2e upstreams`: our provider codecs against mock upstreams that others wrote.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    PLACE, find_program,
    install::{NODE_OF_UPSTREAMS, Node, Python},
    run_third_party,
    server::Server,
};
use crate::shell::{self, Failed, report};

/// The version of llmsim we tried.
const LLMSIM: &str = "0.6.0";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build and install llmsim, too, where it is missing. Takes minutes.
    #[arg(long)]
    with_llmsim: bool,
}

impl Options {
    /// With what is there.
    pub(crate) const USUAL: Self = Self { with_llmsim: false };
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let python = Python::with("upstreams")?;
    let node = Node::with(&python, "node", NODE_OF_UPSTREAMS)?;
    let llmsim = find_llmsim(options)?;

    let aimock = Server::start("aimock", |port| aimock(&node, port))?;
    let llmock = Server::start("llmock", |port| llmock(&python, port))?;
    let mut modules = vec!["aimock::", "llmock::"];
    let mut addresses =
        vec![("MOONGATE_E2E_AIMOCK", aimock.address()), ("MOONGATE_E2E_LLMOCK", llmock.address())];
    let llmsim = llmsim.map(|program| Server::start("llmsim", |port| start_llmsim(&program, port)));
    let llmsim = llmsim.transpose()?;
    match &llmsim {
        Some(llmsim) => {
            modules.push("llmsim::");
            addresses.push(("MOONGATE_E2E_LLMSIM", llmsim.address()));
        }
        None => report("skipped: llmsim is not installed (--with-llmsim builds it)"),
    }
    run_third_party(&modules, &addresses)
}

fn aimock(node: &Node, port: u16) -> Command {
    let mut command = node.run("@copilotkit/aimock/dist/cli.js");
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--validate-on-load"]);
    command.args(["--fixtures", "e2e/aimock", "--log-level", "warn"]);
    command
}

/// Between chunks it pauses, so that it notices when we hang up on it.
fn llmock(python: &Python, port: u16) -> Command {
    let mut command = Command::new(python.program("llmock"));
    command.args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--stream-chunk-delay-ms", "20"]);
    command
}

fn start_llmsim(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--config", "e2e/llmsim/sim.toml"]);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command
}

fn find_llmsim(options: &Options) -> Result<Option<PathBuf>, Failed> {
    let installed = Path::new(PLACE).join("bin/llmsim");
    if options.with_llmsim && !installed.is_file() {
        let mut command = shell::cargo();
        command.args(["install", "llmsim", "--locked", "--version", LLMSIM, "--root", PLACE]);
        // A target folder of its own: the project's is built with other settings.
        shell::run(command.env("CARGO_TARGET_DIR", Path::new(PLACE).join("build")))?;
    }
    Ok(if installed.is_file() { Some(installed) } else { find_program("llmsim") })
}
