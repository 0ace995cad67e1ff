//! `cargo xtask e2e`: third-party clients and suites.

use crate::shell::Failed;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The short form the gate runs.
    #[arg(long)]
    pub(crate) short: bool,
}

pub(crate) fn run(_options: &Options) -> Result<(), Failed> {
    Err(Failed::cannot("`cargo xtask e2e` is not built yet"))
}
