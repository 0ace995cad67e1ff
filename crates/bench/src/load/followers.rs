//! Many sockets that follow one session: whether each sees every frame once, and what one more costs.

use std::time::Duration;

use futures_util::StreamExt;
use memchr::memmem;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{
    client::{Client, Socket, Transport, open_socket},
    process::Tree,
    site::{self, Site},
};
use crate::Fault;

/// How long the slowest follower may be behind the one who asks.
const BEHIND_MOST: Duration = Duration::from_secs(20);
/// When nothing comes for so long, all of the past was told.
const QUIET: Duration = Duration::from_millis(700);
/// How each of the answer's words begins.
const WORD: &[u8] = b"zq";

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// How many follow
    #[arg(long, default_value_t = 2000)]
    followers: usize,
    /// Turns they see
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// The server's process
    #[arg(long)]
    pid: u32,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    followers: usize,
    /// Those that saw exactly what the first one saw, and nothing of it twice.
    alike: usize,
    /// Frames each of them saw.
    frames: usize,
    cpu_us_per_frame: f64,
}

/// What a follower saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Saw {
    frames: usize,
    /// Words of the answers; each is in a piece, and once more in the whole.
    words: usize,
}

/// Some turns before some followers.
struct Show {
    saw: Vec<Saw>,
    cpu_ms: f64,
}

pub(crate) async fn measure(options: &Options) -> Result<Report, Fault> {
    let site = Site::new(&options.site)?;
    let mut client = Client::open(&site, Transport::Ws).await?;
    client.turn().await?;
    let few = show(&site, &mut client, options, 1).await?;
    let many = show(&site, &mut client, options, options.followers).await?;
    let one = *few.saw.first().ok_or("nobody followed")?;
    let frames: usize = many.saw.iter().map(|saw| saw.frames).sum();
    Ok(Report {
        followers: options.followers,
        alike: many.saw.iter().filter(|saw| **saw == one).count(),
        frames: one.frames,
        cpu_us_per_frame: (many.cpu_ms - few.cpu_ms) * 1e3 / (frames - one.frames) as f64,
    })
}

async fn show(site: &Site, client: &mut Client, options: &Options, followers: usize) -> Result<Show, Fault> {
    let mut coming = JoinSet::new();
    for _ in 0..followers {
        coming.spawn(past(open_socket(site, client.session()).await?));
    }
    let mut watching = JoinSet::new();
    while let Some(came) = coming.join_next().await {
        watching.spawn(watch(came??, options.turns, site.endings(true).0));
    }
    let server = Tree(options.pid);
    let before = server.cpu_ms();
    for _ in 0..options.turns {
        client.turn().await?;
    }
    let mut saw = Vec::with_capacity(followers);
    while let Some(watched) = tokio::time::timeout(BEHIND_MOST, watching.join_next()).await? {
        saw.push(watched??);
    }
    Ok(Show { saw, cpu_ms: server.cpu_ms() - before })
}

/// Reads what a follower is told of before it came.
async fn past(mut socket: Socket) -> Result<Socket, Fault> {
    while let Ok(frame) = tokio::time::timeout(QUIET, socket.next()).await {
        frame.ok_or("a follower was disconnected")??;
    }
    Ok(socket)
}

/// Reads until so many turns have ended.
async fn watch(mut socket: Socket, turns: usize, ends: &'static str) -> Result<Saw, Fault> {
    let (word, end) = (memmem::Finder::new(WORD), memmem::Finder::new(ends));
    let (mut saw, mut ended) = (Saw { frames: 0, words: 0 }, 0);
    while ended < turns {
        let Message::Text(text) = socket.next().await.ok_or("a follower was disconnected")?? else {
            continue;
        };
        saw.frames += 1;
        saw.words += word.find_iter(text.as_bytes()).count();
        ended += usize::from(end.find(text.as_bytes()).is_some());
    }
    Ok(saw)
}
