//! `cargo xtask ci`: the gate. Each step is one line of [`STEPS`]; the first that fails ends it.

use std::{
    env,
    time::{Duration, Instant},
};

use crate::{
    deny, e2e, fault, readme,
    shell::{self, Failed, cargo, report},
    tidy,
};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these steps, by name.
    #[arg(value_name = "STEP")]
    only: Vec<String>,
}

struct Step {
    name: &'static str,
    run: fn(&mut Closing) -> Result<(), Failed>,
}

/// What the test runner said last; shown again at the end, where a reader of the gate's output looks.
type Closing = Vec<String>;

/// In the order of their cost: a formatting slip is told in seconds, not after the tests.
const STEPS: &[Step] = &[
    Step { name: "fmt", run: |_| shell::run(cargo().args(["fmt", "--all", "--check"])) },
    Step { name: "tidy", run: |_| tidy::run(&tidy::Options::default()) },
    Step { name: "deny", run: |_| dependencies() },
    Step { name: "clippy", run: |_| clippy() },
    Step { name: "doc", run: |_| documentation() },
    Step { name: "test", run: tests },
    Step { name: "fault", run: |_| fault::run(&fault::Options::SHORT) },
    Step { name: "upstreams", run: |_| others(&e2e::Options::UPSTREAMS) },
    Step { name: "browser", run: |_| browser() },
    Step { name: "ui", run: |_| page() },
    Step { name: "openai", run: |_| others(&e2e::Options::OPENAI) },
    Step { name: "mcp", run: |_| others(&e2e::Options::MCP) },
];

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let known = |name: &String| STEPS.iter().any(|step| step.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Failed::cannot(format!("there is no step `{unknown}`; there are {}", names.join(", "))));
    }
    let wanted = |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let mut closing = Closing::new();
    let mut times = Vec::new();
    let outcome = STEPS.iter().filter(wanted).try_for_each(|step| {
        report(&format!("\n== {}", step.name));
        let began = Instant::now();
        let ended = (step.run)(&mut closing);
        times.push((step.name, began.elapsed(), ended.is_ok()));
        ended
    });
    summarize(&times, &closing);
    outcome
}

fn summarize(times: &[(&str, Duration, bool)], closing: &[String]) {
    report("\n== summary");
    for (name, took, ok) in times {
        let verdict = if *ok { "ok" } else { "FAILED" };
        report(&format!("{name:<12} {verdict:<7} {:>7.1} s", took.as_secs_f64()));
    }
    for line in closing {
        report(line);
    }
}

fn clippy() -> Result<(), Failed> {
    shell::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<(), Failed> {
    shell::run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// On a developer's machine a missing cargo-deny is no fault; the gate installs it and insists.
fn dependencies() -> Result<(), Failed> {
    if env::var_os("CI").is_none() && !shell::has_cargo_command("deny") {
        report(&format!("skipped: cargo-deny {} is not installed", deny::VERSION));
        return Ok(());
    }
    deny::run()
}

/// Programs that others wrote. As with cargo-deny: the gate has Python, a developer's machine may not.
fn others(options: &e2e::Options) -> Result<(), Failed> {
    if env::var_os("CI").is_none() && !e2e::has_python() {
        report("skipped: there is no python3 to install others' programs with");
        return Ok(());
    }
    e2e::run(options)
}

/// As with cargo-deny: the gate has a browser, a developer's machine may not.
fn browser() -> Result<(), Failed> {
    if env::var_os("CI").is_none() && !e2e::has_browser() {
        report("skipped: there is no Chromium");
        return Ok(());
    }
    e2e::run(&e2e::Options::BROWSER)
}

/// The page is built and driven where there is what that takes.
fn page() -> Result<(), Failed> {
    if env::var_os("CI").is_none() && !(e2e::has_browser() && e2e::has_python()) {
        report("skipped: there is no Chromium, or no python3 to install what drives it with");
        return Ok(());
    }
    e2e::run(&e2e::Options::UI)
}

fn tests(closing: &mut Closing) -> Result<(), Failed> {
    let (last_lines, ended) = shell::run_kept(&format!("set -e\n{}", readme::commands("test")?));
    *closing = last_lines;
    ended
}
