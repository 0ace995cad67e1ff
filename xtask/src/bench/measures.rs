//! The measures. Moongate and the baseline take turns (A B A B …), and the middle of the rounds counts.

use std::{ffi::OsString, path::Path, time::Duration};

use super::{
    figure::{Figure, Goal, median},
    load::{self, Door, Run, Transport, Turns},
    stage::{MODEL, Server, Stage, pause},
};
use crate::shell::Failed;

/// A model that takes its time before its first token.
const SLOW_MODEL: &str = "mock-20t-0ms-20first";
/// Clients of the measures with many.
const MANY: usize = 64;
/// A start is measured this often.
const STARTS: usize = 5;
/// Filling a folder takes no longer.
const SEED_MOST: Duration = Duration::from_secs(300);
/// Memory is read this long after the last answer.
const SETTLE: Duration = Duration::from_millis(500);

/// A server's rounds.
#[derive(Default)]
pub(super) struct Rounds(pub(super) Vec<Turns>);

impl Rounds {
    pub(super) fn middle(&self, of: impl Fn(&Turns) -> Option<f64>) -> Option<f64> {
        median(&self.0.iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// Durable turns a second, and processor time a turn.
pub(super) fn throughput(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let (baseline, (moongate, _)) = (stage.baseline(true, None)?, stage.moongate(None, None)?);
    let (ours, theirs) = alternate(stage, &moongate, &baseline, run(stage, MANY, Transport::Sse))?;
    let [turns, cpu] = rates(&ours, &theirs, &sessions(MANY));
    let (ours, theirs) = alternate(stage, &moongate, &baseline, run(stage, 1, Transport::Sse))?;
    let [turns_of_one, cpu_of_one] = rates(&ours, &theirs, &sessions(1));
    let (turns, cpu) = (turns.wanted(Goal::RatioAtLeast(0.5)), cpu.wanted(Goal::RatioAtMost(2.5)));
    Ok(vec![turns, cpu, turns_of_one, cpu_of_one])
}

/// The same over WebSockets.
pub(super) fn websocket(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let (baseline, (moongate, _)) = (stage.baseline(true, None)?, stage.moongate(None, None)?);
    let (ours, theirs) = alternate(stage, &moongate, &baseline, run(stage, MANY, Transport::Ws))?;
    Ok(rates(&ours, &theirs, &format!("{}, WebSocket", sessions(MANY))).into())
}

/// What the gateway adds to the time until the first word, against a baseline that keeps nothing.
pub(super) fn first(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let (baseline, (moongate, _)) = (stage.baseline(false, None)?, stage.moongate(None, None)?);
    let at_once = run(stage, 1, Transport::Sse);
    let (ours, theirs) = alternate(stage, &moongate, &baseline, at_once)?;
    let goal = Goal::RatioAtMost(2.0);
    let name = "added time to first token, p50, model answers at once";
    let none = Figure::new(name, "ms", ours.middle(Turns::first_ms)).beside(theirs.middle(Turns::first_ms));
    stage.reset_model();
    let (ours, theirs) = alternate(stage, &moongate, &baseline, Run { model: SLOW_MODEL, ..at_once })?;
    let delay = stage.model_delay_ms().ok_or_else(|| Failed::new("the model does not say its delay"))?;
    let added = |rounds: &Rounds| rounds.middle(Turns::first_ms).map(|first| first - delay);
    let name = "added time to first token, p50, model takes 20 ms";
    let slow = Figure::new(name, "ms", added(&ours)).beside(added(&theirs));
    Ok(vec![none.wanted(goal), slow.wanted(goal)])
}

/// Calls that flush a file, of each turn.
pub(super) fn flushes(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let counting = stage.counting()?;
    let mut figures = Vec::new();
    for (clients, most) in [(1, 2.0), (MANY, 0.1)] {
        let figure =
            |moongate| Figure::new(format!("disk flushes a turn, {}", sessions(clients)), "", moongate);
        let Some(counting) = &counting else {
            figures.push(figure(None).wanted(Goal::AtMost(most)));
            continue;
        };
        let count = stage.fresh_folder()?.join("count");
        let theirs = stage.baseline(true, Some(&counting.onto(&count)))?;
        let theirs = flushes_per_turn(stage, &theirs, clients, &count)?;
        let count = stage.fresh_folder()?.join("count");
        let (ours, _) = stage.moongate(None, Some(&counting.onto(&count)))?;
        let ours = flushes_per_turn(stage, &ours, clients, &count)?;
        figures.push(figure(Some(ours)).beside(Some(theirs)).wanted(Goal::AtMost(most)));
    }
    Ok(figures)
}

/// Memory of clients that only follow.
pub(super) fn idle(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (transport, name, most) in [(Transport::Sse, "SSE", 20.0), (Transport::Ws, "WebSocket", 12.0)] {
        let (baseline, (moongate, _)) = (stage.baseline(true, None)?, stage.moongate(None, None)?);
        let clients = stage.effort.idle_clients;
        let theirs = load::idle(stage, &baseline, (Door::Native, transport), clients)?.kib_per_client;
        let ours = load::idle(stage, &moongate, (Door::Native, transport), clients)?.kib_per_client;
        let figure = Figure::new(format!("memory of an idle client, {name}"), "KiB", Some(ours));
        figures.push(figure.beside(Some(theirs)).wanted(Goal::AtMost(most)));
    }
    Ok(figures)
}

/// The time until the first answer among many stored sessions, and memory when nothing happens.
pub(super) fn start(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let data = stage.fresh_folder()?;
    let count = stage.effort.stored_sessions;
    let mut words: Vec<OsString> =
        ["seed", "--sessions", &count.to_string(), "--data"].map(OsString::from).into();
    words.push(data.clone().into());
    stage.run_tool(&words, SEED_MOST)?;
    let (mut times, mut memory, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (moongate, took) = stage.moongate(Some(&data), None)?;
        times.push(took.as_secs_f64() * 1e3);
        pause(SETTLE);
        memory.extend(moongate.rss_mb());
        lists.extend(moongate.answers_in_ms("/oxios/api/sessions?page=100&limit=50"));
    }
    let (moongate, _) = stage.moongate(None, None)?;
    pause(SETTLE);
    let among = format!("{count} stored sessions");
    Ok(vec![
        Figure::new(format!("start to first answer, {among}"), "ms", median(&times))
            .wanted(Goal::AtMost(100.0)),
        Figure::new("memory when idle", "MB", moongate.rss_mb()).wanted(Goal::AtMost(20.0)),
        Figure::new(format!("memory when idle, {among}"), "MB", median(&memory)),
        Figure::new(format!("a page of Oxios' list, {among}"), "ms", median(&lists))
            .wanted(Goal::AtMost(50.0)),
    ])
}

/// A long session's turns against a young one's.
pub(super) fn growth(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let (moongate, _) = stage.moongate(None, None)?;
    let figures = load::growth(stage, &moongate, &[200, 800])?.into_iter().map(|length| {
        let name = format!("turn {} of a session (beside: turn 5)", length.turn);
        let figure = Figure::new(name, "ms", Some(length.long_ms)).beside(Some(length.young_ms));
        if length.turn == 200 { figure.wanted(Goal::RatioAtMost(1.1)) } else { figure }
    });
    Ok(figures.collect())
}

fn run<'a>(stage: &Stage, clients: usize, transport: Transport) -> Run<'a> {
    let (seconds, door) = (stage.effort.seconds, Door::Native);
    Run { clients, seconds, transport, door, model: MODEL, flush_count: None }
}

/// Rounds of both servers, in turn: Moongate's and the baseline's.
fn alternate(
    stage: &Stage,
    moongate: &Server,
    baseline: &Server,
    run: Run<'_>,
) -> Result<(Rounds, Rounds), Failed> {
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    for _ in 0..stage.effort.rounds {
        theirs.0.push(load::turns(stage, baseline, run)?);
        ours.0.push(load::turns(stage, moongate, run)?);
    }
    Ok((ours, theirs))
}

fn rates(ours: &Rounds, theirs: &Rounds, among: &str) -> [Figure; 2] {
    let rate = |turns: &Turns| Some(turns.turns_per_s);
    let turns = Figure::new(format!("durable turns a second, {among}"), "1/s", ours.middle(rate));
    let cpu = Figure::new(format!("CPU a turn, {among}"), "ms", ours.middle(Turns::cpu_ms));
    [turns.beside(theirs.middle(rate)), cpu.beside(theirs.middle(Turns::cpu_ms))]
}

fn sessions(clients: usize) -> String {
    if clients == 1 { "1 session".to_owned() } else { format!("{clients} sessions") }
}

fn flushes_per_turn(stage: &Stage, server: &Server, clients: usize, count: &Path) -> Result<f64, Failed> {
    let run = Run { flush_count: Some(count), ..run(stage, clients, Transport::Sse) };
    let flushes = load::turns(stage, server, run)?.flushes_per_turn;
    flushes.ok_or_else(|| Failed::new("the flushes were not counted"))
}
