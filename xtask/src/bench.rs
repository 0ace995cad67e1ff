//! `cargo xtask bench`: measure throughput, latency and memory.

use crate::shell::Failed;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The short form the gate runs.
    #[arg(long)]
    pub(crate) short: bool,
}

pub(crate) fn run(_options: &Options) -> Result<(), Failed> {
    Err(Failed::cannot("`cargo xtask bench` is not built yet"))
}
