//! Moongate's automation, in Rust so that it runs wherever the project builds: `cargo xtask --help`.

mod bench;
mod ci;
mod deny;
mod e2e;
mod fault;
mod fuzz;
mod readme;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::shell::{Failed, report};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Moongate's automation", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what compilers do not: sizes, layers, tasks, rights, ids, paths, the tests the documents name.
    Tidy(tidy::Options),
    /// Run every test: nextest where it is installed, plain cargo otherwise, and the documentation's examples.
    Test(test::Options),
    /// Check licences, banned crates and sources of all dependencies (cargo-deny).
    Deny,
    /// Run everything the gate runs, in its order.
    Ci(ci::Options),
    /// Measure throughput, latency and memory.
    Bench(bench::Options),
    /// Run the fault campaigns: kills, full disks, cut streams, reconnect storms.
    Fault(fault::Options),
    /// Fuzz what reads what strangers send (cargo-fuzz).
    Fuzz(fuzz::Options),
    /// Run third-party clients and suites against a running gateway.
    E2e(e2e::Options),
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    let done = shell::enter_workspace().and_then(|()| match task {
        Task::Tidy(options) => tidy::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Deny => deny::run(),
        Task::Ci(options) => ci::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fault(options) => fault::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::E2e(options) => e2e::run(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { message, exit }) => {
            report(&format!("error: {message}"));
            ExitCode::from(exit)
        }
    }
}
