//! `cargo xtask test`: every test of the workspace.

use crate::shell::{self, Failed, report};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to the test runner: a filter, `--package NAME`, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    if !shell::has_cargo_command("nextest") {
        return shell::run(shell::cargo().args(["test", "--workspace"]).args(&options.runner));
    }
    // nextest leaves documentation examples out; with a selection of tests nobody asked for them.
    if options.runner.is_empty() {
        report("documentation examples");
        shell::run(shell::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    shell::run(shell::cargo().args(["nextest", "run", "--workspace"]).args(&options.runner))
}
