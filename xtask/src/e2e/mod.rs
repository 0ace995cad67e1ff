//! `cargo xtask e2e`: our program and clients, servers and suites that others wrote (`docs/third-party.md`).

mod autobahn;
mod browser;
mod install;
mod llama;
mod mcp;
mod openai;
mod page;
mod server;
mod suites;
mod ui;
mod upstreams;

use std::path::Path;

pub(crate) use browser::has_browser;

use crate::shell::{self, Failed};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Part,
}

impl Options {
    /// The upstreams, as the gate runs them.
    pub(crate) const UPSTREAMS: Self = Self { part: Part::Upstreams(upstreams::Options::USUAL) };
    /// The browser.
    pub(crate) const BROWSER: Self = Self { part: Part::Browser };
    /// The web page.
    pub(crate) const UI: Self = Self { part: Part::Ui };
    /// The clients of the OpenAI door.
    pub(crate) const OPENAI: Self = Self { part: Part::Openai };
    /// MCP, both ways.
    pub(crate) const MCP: Self = Self { part: Part::Mcp };
}

#[derive(clap::Subcommand)]
enum Part {
    /// Our provider codecs against mock upstreams: aimock, llmock and, where it is installed, llmsim.
    Upstreams(upstreams::Options),
    /// Our chat codec against a real engine with a small model of random weights. Builds the engine first.
    Llama,
    /// Our server against schemathesis (the OpenAPI document) and the Autobahn suite (WebSocket).
    Suites(suites::Options),
    /// An agent of ours with the tools of MCP servers that others wrote, and our MCP door against the conformance suite.
    Mcp,
    /// Our server's WebSockets in a browser: a page in Chromium talks through each of them.
    Browser,
    /// The web page: that what is committed is what its sources build to, and then every part of it in Chromium.
    Ui,
    /// Our server against OpenAI's own clients (the Python and the Node SDK, its agents framework), the AI SDK, and
    /// coding agents: the Codex CLI and OpenCode.
    Openai,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    match &options.part {
        Part::Upstreams(options) => upstreams::run(options),
        Part::Llama => llama::run(),
        Part::Suites(options) => suites::run(options),
        Part::Mcp => mcp::run(),
        Part::Browser => browser::run(),
        Part::Ui => ui::run(),
        Part::Openai => openai::run(),
    }
}

/// Where everything that is installed or written for these runs is.
const PLACE: &str = "target/e2e";

/// Runs the ignored tests of `third_party` in these modules, with the upstreams' addresses in the environment.
fn run_third_party(modules: &[&str], addresses: &[(&str, String)]) -> Result<(), Failed> {
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--test", "third_party", "--", "--ignored"]);
    command.args(["--nocapture"]).args(modules);
    command.envs(addresses.iter().map(|(variable, address)| (variable, address)));
    shell::run(&mut command)
}

/// Whether there is what everything here is installed with.
pub(crate) fn has_python() -> bool {
    find_program("python3").is_some()
}

/// A program on the search path.
fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| Path::new(program).is_file())
}
