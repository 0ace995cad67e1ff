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
    // A selection of packages and `--workspace` exclude each other; without both, cargo takes all packages.
    if !shell::has_cargo_command("nextest") {
        return shell::run(shell::cargo().arg("test").args(&options.runner));
    }
    // nextest leaves documentation examples out; with a selection of tests nobody asked for them.
    if options.runner.is_empty() {
        report("documentation examples");
        shell::run(shell::cargo().args(["test", "--doc", "--quiet"]))?;
    }
    shell::run(shell::cargo().args(["nextest", "run"]).args(&options.runner))
}
