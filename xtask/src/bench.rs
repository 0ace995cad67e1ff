//! `cargo xtask bench`: Moongate's figures, each beside the same figure of a baseline in the same run.
//!
//! docs/performance.md says what is measured and why so.

mod child;
mod doors;
mod figure;
mod http;
mod load;
mod measures;
mod stage;

use std::{fs, path::PathBuf, thread};

use serde::Serialize;

use crate::shell::{Failed, report};
use figure::{Figure, table};
use stage::{Effort, Stage};

/// Where the README keeps the figures.
const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// What to measure, and where to put it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One short round of everything: shows that it runs, too short to judge by.
    #[arg(long)]
    quick: bool,
    /// Only these measures: throughput, websocket, first, flushes, idle, start, growth, doors, sockets, slow, followers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Build nothing: take the programs as they are.
    #[arg(long)]
    built: bool,
    /// Put the table into README.md.
    #[arg(long)]
    readme: bool,
    /// Fail when a goal is missed.
    #[arg(long)]
    strict: bool,
}

/// Something that is measured.
struct Measure {
    name: &'static str,
    run: fn(&Stage) -> Result<Vec<Figure>, Failed>,
}

const MEASURES: &[Measure] = &[
    Measure { name: "throughput", run: measures::throughput },
    Measure { name: "websocket", run: measures::websocket },
    Measure { name: "first", run: measures::first },
    Measure { name: "flushes", run: measures::flushes },
    Measure { name: "idle", run: measures::idle },
    Measure { name: "start", run: measures::start },
    Measure { name: "growth", run: measures::growth },
    Measure { name: "doors", run: doors::turns },
    Measure { name: "sockets", run: doors::idle },
    Measure { name: "slow", run: doors::slow },
    Measure { name: "followers", run: doors::followers },
];

/// What `--json` writes.
#[derive(Serialize)]
struct Results<'a> {
    machine: &'a str,
    figures: &'a [Figure],
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let known = |name: &String| MEASURES.iter().any(|measure| measure.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        return Err(Failed::cannot(format!(
            "there is no measure `{unknown}`; there are {}",
            names.join(", ")
        )));
    }
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let stage = Stage::prepare(effort, options.bin.as_deref(), !options.built)?;
    let (figures, failures) = measure(&stage, &options.only);
    let (table, machine) = (table(&figures), machine());
    report(&format!("\n{machine}\n\n{table}"));
    if let Some(path) = &options.json {
        let results = Results { machine: &machine, figures: &figures };
        let text = serde_json::to_string_pretty(&results).map_err(|e| Failed::cannot(e.to_string()))?;
        fs::write(path, text).map_err(|e| Failed::cannot(format!("{}: {e}", path.display())))?;
    }
    if options.readme {
        write_readme(&machine, &table)?;
    }
    let missed = figures.iter().filter(|figure| figure.is_met() == Some(false)).count();
    if failures > 0 {
        return Err(Failed::new(format!("{failures} measures failed")));
    }
    if options.strict && missed > 0 {
        return Err(Failed::new(format!("{missed} goals are missed")));
    }
    Ok(())
}

/// Takes every measure that is wanted; one that fails is told and does not stop the others.
fn measure(stage: &Stage, only: &[String]) -> (Vec<Figure>, usize) {
    let wanted = MEASURES.iter().filter(|measure| only.is_empty() || only.iter().any(|n| n == measure.name));
    let (mut figures, mut failures) = (Vec::new(), 0);
    for measure in wanted {
        report(&format!("== {}", measure.name));
        match (measure.run)(stage) {
            Ok(found) => {
                found.iter().for_each(|figure| report(&figure.row()));
                figures.extend(found);
            }
            Err(failed) => {
                report(&format!("failed: {}", failed.message));
                failures += 1;
            }
        }
    }
    (figures, failures)
}

fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Measured on {model}, {cores} cores seen; the gateway on one of them, the clients and the model on another."
    )
}

fn write_readme(machine: &str, table: &str) -> Result<(), Failed> {
    let cannot = |e| Failed::cannot(format!("README.md: {e}"));
    let text = fs::read_to_string("README.md").map_err(cannot)?;
    let missing = || Failed::cannot(format!("README.md has no place between `{BEGIN}` and `{END}`"));
    let text = with_figures(&text, &format!("{machine}\n\n{table}")).ok_or_else(missing)?;
    fs::write("README.md", text).map_err(cannot)
}

fn with_figures(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_keeps_everything_but_the_figures() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(with_figures(&text, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(with_figures("a\n", "new\n"), None);
    }
}
