//! Whether a turn takes longer in a long session. Turns of a long and of a young session alternate, so that
//! whatever else the machine does slows both.

use std::time::Duration;

use serde::Serialize;

use super::{
    client::{Client, Transport},
    site::{self, Site},
    spread::median,
};
use crate::Fault;

/// A young session's turns before those that count: the first ones wake things up.
const FRESH: u32 = 3;
/// A young session's turns that count: around its fifth.
const YOUNG: usize = 4;

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// The long session's turn numbers to measure at, rising
    #[arg(long, value_delimiter = ',', default_value = "200,800")]
    lengths: Vec<u64>,
    /// Pairs of turns at each
    #[arg(long, default_value_t = 80)]
    pairs: usize,
}

/// What was measured at one length.
#[derive(Serialize)]
pub(crate) struct Stage {
    turn: u64,
    young_ms: f64,
    long_ms: f64,
    ratio: f64,
}

pub(crate) async fn measure(options: &Options) -> Result<Vec<Stage>, Fault> {
    let site = Site::new(&options.site)?;
    let mut long = Client::open(&site, Transport::Sse).await?;
    let mut turns = 0;
    let mut stages = Vec::new();
    for turn in &options.lengths {
        while turns < *turn {
            long.turn().await?;
            turns += 1;
        }
        let (young, old) = pairs(&site, &mut long, options.pairs).await?;
        turns += old.len() as u64;
        let nothing = "no pairs were asked for";
        let (young_ms, long_ms) = (median(&young).ok_or(nothing)?, median(&old).ok_or(nothing)?);
        stages.push(Stage { turn: *turn, young_ms, long_ms, ratio: long_ms / young_ms });
    }
    Ok(stages)
}

async fn pairs(
    site: &Site,
    long: &mut Client,
    count: usize,
) -> Result<(Vec<Duration>, Vec<Duration>), Fault> {
    let mut young = Client::open(site, Transport::Sse).await?;
    let (mut young_times, mut long_times) = (Vec::new(), Vec::new());
    for pair in 0..count {
        if pair % YOUNG == 0 {
            young.renew().await?;
            for _ in 0..FRESH {
                young.turn().await?;
            }
        }
        young_times.push(young.turn().await?.done);
        long_times.push(long.turn().await?.done);
    }
    Ok((young_times, long_times))
}
