//! Clients in a closed loop: each waits for its answer before it asks again.

mod client;
mod followers;
mod growth;
mod idle;
mod marks;
mod process;
mod site;
mod slow;
mod spread;
mod turns;
mod words;

use clap::Subcommand;
use serde::Serialize;

use crate::{Fault, runtime, say};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Measure {
    /// Turns a second, CPU a turn, times to the first and the last word
    Turns(turns::Options),
    /// Memory of clients that only follow
    Idle(idle::Options),
    /// Whether a long session's turns take longer than a young one's
    Growth(growth::Options),
    /// Sockets that do not read
    Slow(slow::Options),
    /// Sockets that follow one session
    Followers(followers::Options),
}

pub(crate) fn run(measure: Measure) -> Result<(), Fault> {
    runtime()?.block_on(async {
        match measure {
            Measure::Turns(options) => print(&turns::measure(&options).await?),
            Measure::Idle(options) => print(&idle::measure(&options).await?),
            Measure::Growth(options) => print(&growth::measure(&options).await?),
            Measure::Slow(options) => print(&slow::measure(&options).await?),
            Measure::Followers(options) => print(&followers::measure(&options).await?),
        }
    })
}

fn print(report: &impl Serialize) -> Result<(), Fault> {
    say(&serde_json::to_string(report)?);
    Ok(())
}
