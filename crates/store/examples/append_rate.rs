//! How many turns a second the store takes, and what one costs: `append_rate [sessions] [seconds] [folder]`.
//!
//! A turn is two appends, as the actor makes them: the input with the turn's start, then the answer with its
//! bill and the turn's end.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moongate_core::{Store, StoreAdmin};
use moongate_protocol::Tenant;
use moongate_store::SqliteStore;
use moongate_testkit::store_suite::{Scribe, event};

const INPUT: &str = "Please tell me, in a few words, what the difference between a log and a table is.";
const ANSWER: &str = "A log keeps every fact in the order it happened and never changes it; a table keeps \
                      the newest state and forgets how it came about. One can always make the table from the \
                      log, and never the other way around. That is why this gateway keeps the log.";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let sessions: usize = arguments.next().map_or(64, |n| n.parse().unwrap());
    let seconds: u64 = arguments.next().map_or(5, |n| n.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let folder = arguments.next().map_or(scratch.path().to_path_buf(), PathBuf::from);
    let store = SqliteStore::open(&folder).unwrap();
    let (alone, _) = run(&store, sessions, Duration::from_secs(1), false).await;
    let (with, turns) = run(&store, sessions, Duration::from_secs(seconds), true).await;
    println!(
        "{sessions} sessions: {:.0} turns/s; CPU a turn {:.1} us, of it {:.1} us building events, {:.1} us the \
         writer's thread",
        turns as f64 / with.wall.as_secs_f64(),
        with.cpu_us,
        alone.cpu_us,
        with.writer_us,
    );
    let report = store.check().await.unwrap();
    println!("an append took {} (p50), {} (p99), {} us (longest)", with.p(50), with.p(99), with.p(100));
    println!("{} sessions, {} events, {} faults", report.sessions, report.events, report.faults.len());
    store.close().await;
    let bytes = fs::metadata(folder.join("moongate.db")).unwrap().len();
    println!("{:.0} bytes a turn on disk", bytes as f64 / turns as f64);
}

struct Cost {
    wall: Duration,
    cpu_us: f64,
    writer_us: f64,
    /// How long each append took, sorted.
    took_us: Vec<u128>,
}

impl Cost {
    fn p(&self, percent: usize) -> u128 {
        self.took_us.get((self.took_us.len().max(1) - 1) * percent / 100).copied().unwrap_or(0)
    }
}

async fn run(store: &Arc<SqliteStore>, sessions: usize, time: Duration, write: bool) -> (Cost, u64) {
    let tenant: Tenant = "default".parse().unwrap();
    let turns = Arc::new(AtomicU64::new(0));
    let (start, cpu, writer) = (Instant::now(), ticks("self", ""), ticks("self", "moongate-store"));
    let tasks = (0..sessions).map(|_| {
        let (store, tenant, turns) = (store.clone(), tenant.clone(), turns.clone());
        tokio::spawn(async move {
            let mut scribe = Scribe::new(&*store, &tenant);
            let mut took = Vec::new();
            step(&mut scribe, &store, write, vec![event::created(None, None)]).await;
            while start.elapsed() < time {
                let number = turns.fetch_add(1, Ordering::Relaxed);
                let asked = vec![event::input(number, INPUT), event::started(number, &[number])];
                took.push(step(&mut scribe, &store, write, asked).await);
                let answered = vec![
                    event::said(number, ANSWER),
                    event::billed(number, "builtin/demo", 50, Some(10)),
                    event::ended(number),
                ];
                took.push(step(&mut scribe, &store, write, answered).await);
            }
            took
        })
    });
    let mut took_us = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took_us.extend(task.await.unwrap());
    }
    took_us.sort_unstable();
    let turns = turns.load(Ordering::Relaxed);
    let per_turn = |before: u64, after: u64| (after - before) as f64 * 10_000.0 / turns as f64;
    let cost = Cost {
        wall: start.elapsed(),
        cpu_us: per_turn(cpu, ticks("self", "")),
        writer_us: per_turn(writer, ticks("self", "moongate-store")),
        took_us,
    };
    (cost, turns)
}

async fn step(
    scribe: &mut Scribe,
    store: &SqliteStore,
    write: bool,
    events: Vec<moongate_protocol::Event>,
) -> u128 {
    let (append, mut after) = scribe.plan(events);
    after.written.clear();
    let start = Instant::now();
    if write {
        store.append(append).await.unwrap();
    } else {
        tokio::task::yield_now().await;
    }
    *scribe = after;
    start.elapsed().as_micros()
}

/// Hundredths of a second of processor time of this process, or of its threads of one name.
fn ticks(process: &str, thread: &str) -> u64 {
    let of = |path: PathBuf| {
        let stat = fs::read_to_string(path).unwrap_or_default();
        let (name, rest) = stat.split_once(") ").unwrap_or_default();
        let fields: Vec<u64> = rest.split(' ').skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        if name.ends_with(thread) { fields.iter().sum() } else { 0 }
    };
    if thread.is_empty() {
        return of(format!("/proc/{process}/stat").into());
    }
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.map(|thread| of(thread.unwrap().path().join("stat"))).sum()
}
