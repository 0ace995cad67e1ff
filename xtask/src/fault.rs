//! `cargo xtask fault`: fault campaigns against the running binary.
//!
//! Each fault is one file and one function: set up a data folder and a server, do it harm, and hold what is
//! left against the ledger of what was acknowledged.

mod api;
mod clock_jumps;
mod crates;
mod disk_full;
mod flush_order;
mod kill_at_syscall;
mod kill_under_load;
mod ledger;
mod load;
mod place;
mod poison_turn;
mod reconnect_storm;
mod slow_readers;
mod socket;
mod stop_under_load;
mod strace;
mod torn_log;
mod upgrade;
mod view;
mod wait;
mod write_errors;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::shell::{Failed, cargo, report, run as run_program};

/// What to run.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Only these faults, by name.
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// The short form the gate runs.
    #[arg(long)]
    short: bool,
    /// Rounds of a campaign that counts in rounds, instead of its own number.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Where chance begins: the same number draws the same harm.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Harm this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

impl Options {
    /// What the gate runs.
    pub(crate) const SHORT: Self = Self { only: Vec::new(), short: true, rounds: None, seed: 1, bin: None };
}

/// What every campaign is given.
struct Campaign {
    /// The program under test.
    binary: PathBuf,
    /// Where data folders are made: on a disk, not where a system keeps temporary files in memory.
    folder: PathBuf,
    short: bool,
    rounds: Option<usize>,
    seed: u64,
}

impl Campaign {
    /// How often: as the caller said, else as the form says.
    fn rounds(&self, short: usize, long: usize) -> usize {
        self.rounds.unwrap_or(if self.short { short } else { long })
    }
}

/// How a campaign ended that found nothing wrong.
enum Verdict {
    /// What was done, in numbers.
    Passed(String),
    /// Why this machine cannot do it.
    Skipped(String),
}

type Outcome = Result<Verdict, Failed>;

struct Fault {
    name: &'static str,
    about: &'static str,
    run: fn(&Campaign) -> Outcome,
    /// Whether the short form leaves it to the tests that hold it anyway.
    is_tested_anyway: bool,
}

const fn fault(name: &'static str, about: &'static str, run: fn(&Campaign) -> Outcome) -> Fault {
    Fault { name, about, run, is_tested_anyway: false }
}

const fn tested(name: &'static str, about: &'static str, run: fn(&Campaign) -> Outcome) -> Fault {
    Fault { name, about, run, is_tested_anyway: true }
}

const FAULTS: &[Fault] = &[
    fault("F01", "kill -9 at system calls of a scripted turn", kill_at_syscall::kill_at_every_syscall),
    fault("F02", "kill -9 under load", kill_under_load::kill_under_load),
    fault("F03", "no acknowledgement leaves before its flush", flush_order::no_ack_before_its_flush),
    fault("F05", "a full disk", disk_full::a_full_disk_loses_nothing),
    fault("F06", "errors of writing and flushing", write_errors::a_failed_write_ends_acknowledging),
    fault("F08", "a log cut off anywhere", torn_log::a_torn_log_keeps_what_was_whole),
    tested("F10", "upstream fault scripts", crates::upstream_scripts),
    tested("F11", "torn and damaged stores, streams cut at every byte", crates::cut_streams_and_stores),
    tested("INP-09", "files and folders exchanged for links while tools work", crates::exchanged_links),
    fault("F12", "clients that come and go", reconnect_storm::reconnecting_misses_nothing),
    fault("F14", "clients that stop reading", slow_readers::slow_readers_harm_nobody),
    fault("F20", "a turn that ends the process", poison_turn::a_poison_turn_is_given_up),
    fault("F26", "kill -9 in an upgrade; a newer store", upgrade::an_upgrade_survives_kills),
    fault("F27", "jumps of the clock", clock_jumps::clock_jumps_change_nothing),
    fault("G16", "SIGTERM under load", stop_under_load::a_stop_under_load_is_clean),
];

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let known = |name: &String| FAULTS.iter().any(|fault| fault.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        return Err(Failed::cannot(format!("there is no fault `{unknown}`; there are {}", names.join(", "))));
    }
    let campaign = prepare(options)?;
    let wanted = FAULTS.iter().filter(|fault| match options.only.is_empty() {
        true => !(options.short && fault.is_tested_anyway),
        false => options.only.iter().any(|name| name == fault.name),
    });
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for Fault { name, about, run, .. } in wanted {
        let began = Instant::now();
        let (word, text) = match run(&campaign) {
            Ok(Verdict::Passed(counts)) => {
                passed += 1;
                ("ok", counts)
            }
            Ok(Verdict::Skipped(reason)) => {
                skipped += 1;
                ("skipped", reason)
            }
            Err(failure) => {
                failed += 1;
                ("FAILED", failure.message)
            }
        };
        report(&format!("{name} {word:<8}{:>6.1} s  {about}: {text}", began.elapsed().as_secs_f64()));
    }
    report(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
    match failed {
        0 => Ok(()),
        _ => Err(Failed::new(format!("{failed} faults did harm"))),
    }
}

fn prepare(options: &Options) -> Result<Campaign, Failed> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    if options.bin.is_none() {
        run_program(cargo().args(["build", "--quiet", "--package", "moongate"]))?;
    }
    let built = target.join("debug/moongate");
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Failed::cannot(e.to_string()));
    let binary = absolute(options.bin.as_deref().unwrap_or(&built))?;
    if !binary.is_file() {
        return Err(Failed::cannot(format!("there is no {}", binary.display())));
    }
    let folder = absolute(&target)?;
    Ok(Campaign { binary, folder, short: options.short, rounds: options.rounds, seed: options.seed })
}
