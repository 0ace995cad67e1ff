//! What the load generator measures, read from what it prints.

use std::{ffi::OsString, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use super::stage::{MODEL, Server, Stage};
use crate::shell::Failed;

/// A run takes its time, the opening of its clients, and no longer than this beside.
const BESIDE: Duration = Duration::from_secs(60);

/// A model slow enough for its pieces to be told one by one, to however many.
pub(super) const FOLLOWED: &str = "mock-20t-100ms";

/// Through which of Moongate's doors clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Native,
    Oxios,
    Construct,
    Orra,
    Chat,
    Responses,
}

/// How clients speak.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    Sse,
    Ws,
}

/// A run of turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) clients: usize,
    pub(super) seconds: f64,
    pub(super) transport: Transport,
    pub(super) door: Door,
    pub(super) model: &'a str,
    /// Where the server's flushes are counted, if they are.
    pub(super) flush_count: Option<&'a Path>,
}

/// What a run of turns showed.
#[derive(Debug, Deserialize)]
pub(super) struct Turns {
    pub(super) turns: usize,
    errors: usize,
    first_error: Option<String>,
    pub(super) turns_per_s: f64,
    first_ms: Option<Spread>,
    server: Option<Process>,
    pub(super) flushes_per_turn: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Spread {
    p50: f64,
}

#[derive(Debug, Deserialize)]
struct Process {
    cpu_ms_per_turn: Option<f64>,
}

/// What idle clients cost.
#[derive(Debug, Deserialize)]
pub(super) struct Idle {
    pub(super) kib_per_client: f64,
}

/// How a long session compares with a young one.
#[derive(Debug, Deserialize)]
pub(super) struct Length {
    pub(super) turn: u64,
    pub(super) young_ms: f64,
    pub(super) long_ms: f64,
}

/// What sockets cost that do not read.
#[derive(Debug, Deserialize)]
pub(super) struct Slow {
    pub(super) sent_mb: f64,
    pub(super) mib_per_socket: f64,
    pub(super) alone_ms: f64,
    pub(super) beside_ms: f64,
}

/// What many followers of one session saw, and cost.
#[derive(Debug, Deserialize)]
pub(super) struct Followers {
    pub(super) followers: usize,
    pub(super) alike: usize,
    pub(super) cpu_us_per_frame: f64,
}

impl Door {
    /// The load generator's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Native => "moongate",
            Self::Oxios => "oxios",
            Self::Construct => "construct",
            Self::Orra => "orra",
            Self::Chat => "chat",
            Self::Responses => "responses",
        }
    }
}

impl Transport {
    fn word(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Ws => "ws",
        }
    }
}

impl Turns {
    pub(super) fn first_ms(&self) -> Option<f64> {
        self.first_ms.as_ref().map(|spread| spread.p50)
    }

    pub(super) fn cpu_ms(&self) -> Option<f64> {
        self.server.as_ref().and_then(|server| server.cpu_ms_per_turn)
    }
}

pub(super) fn turns(stage: &Stage, server: &Server, run: Run<'_>) -> Result<Turns, Failed> {
    let Run { clients, seconds, transport, door, model, flush_count } = run;
    let mut words = words("turns", server, door, model);
    words.extend(["--transport", transport.word()].map(OsString::from));
    words.extend(["--clients", &clients.to_string(), "--seconds", &seconds.to_string()].map(OsString::from));
    words.extend(["--pid", &server.pid().to_string()].map(OsString::from));
    if let Some(count) = flush_count {
        words.extend(["--flush-count".into(), count.into()]);
    }
    let turns: Turns = load(stage, &words, Duration::from_secs_f64(seconds))?;
    match (turns.errors, &turns.first_error) {
        (0, _) if turns.turns > 0 => Ok(turns),
        (errors, reason) => {
            let reason = reason.as_deref().unwrap_or("no turn ended");
            Err(Failed::new(format!("{errors} turns failed: {reason}")))
        }
    }
}

/// So many clients; each follows a session of its own, or nothing where there is nothing to follow.
pub(super) fn idle(
    stage: &Stage,
    server: &Server,
    (door, transport): (Door, Transport),
    clients: usize,
) -> Result<Idle, Failed> {
    let mut words = words("idle", server, door, MODEL);
    words.extend(["--transport", transport.word()].map(OsString::from));
    words.extend(["--clients", &clients.to_string()].map(OsString::from));
    words.extend(["--pid", &server.pid().to_string()].map(OsString::from));
    load(stage, &words, Duration::ZERO)
}

pub(super) fn growth(stage: &Stage, server: &Server, lengths: &[u64]) -> Result<Vec<Length>, Failed> {
    let lengths: Vec<String> = lengths.iter().map(u64::to_string).collect();
    let mut words = words("growth", server, Door::Native, MODEL);
    words.extend(
        ["--lengths", &lengths.join(","), "--pairs", &stage.effort.pairs.to_string()].map(OsString::from),
    );
    load(stage, &words, BESIDE)
}

/// Sockets that do not read, beside one that does. `server` answers with so many tokens.
pub(super) fn slow(stage: &Stage, server: &Server, door: Door, tokens: usize) -> Result<Slow, Failed> {
    let mut words = words("slow", server, door, &format!("mock-{tokens}t-0ms"));
    words.extend(["--tokens", &tokens.to_string(), "--turns", "12"].map(OsString::from));
    words.extend(["--stalled", "16", "--pid", &server.pid().to_string()].map(OsString::from));
    load(stage, &words, BESIDE)
}

/// Followers of one session. `server` answers with [`FOLLOWED`].
pub(super) fn followers(
    stage: &Stage,
    server: &Server,
    door: Door,
    followers: usize,
) -> Result<Followers, Failed> {
    let mut words = words("followers", server, door, FOLLOWED);
    words.extend(["--followers", &followers.to_string()].map(OsString::from));
    words.extend(["--pid", &server.pid().to_string()].map(OsString::from));
    load(stage, &words, BESIDE)
}

fn words(measure: &str, server: &Server, door: Door, model: &str) -> Vec<OsString> {
    let target = if server.is_moongate() { door.word() } else { "baseline" };
    let mut words: Vec<OsString> =
        ["load", measure, "--target", target, "--at", &server.at.to_string()].map(OsString::from).into();
    words.extend(["--model", &server.model(model)].map(OsString::from));
    if let Some(key) = &server.key_file {
        words.extend(["--key-file".into(), key.into()]);
    }
    words
}

fn load<T: DeserializeOwned>(stage: &Stage, words: &[OsString], takes: Duration) -> Result<T, Failed> {
    let said = stage.run_tool(words, takes + BESIDE)?;
    serde_json::from_str(&said).map_err(|e| Failed::new(format!("the load generator said {said}: {e}")))
}
