//! Fills a data folder with stored sessions.

use crate::Fault;

/// What to fill.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many sessions
    #[arg(long, default_value_t = 100_000)]
    sessions: u64,
}

pub(crate) fn run(_options: &Options) -> Result<(), Fault> {
    Err("not built yet".into())
}
