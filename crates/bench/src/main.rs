//! The programs `cargo xtask bench` measures with, in one binary: each is a subcommand and a process of its own.
//!
//! `upstream` is the model, `baseline` the least a durable gateway must do, `load` the clients, and `seed` fills
//! a data folder. docs/performance.md says how they are put together and what the figures mean.

mod baseline;
mod http1;
mod load;
mod seed;
mod upstream;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What ends a program: always said in words to a person, never decided upon.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "moongate-bench", about = "The programs that measure Moongate")]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// A model that answers at once, over three wires: its name says what it does (`mock-<N>t-<D>ms`)
    Upstream(upstream::Options),
    /// The least a durable gateway must do: what every ratio is taken against
    Baseline(baseline::Options),
    /// Clients in a closed loop; prints one JSON object
    #[command(subcommand)]
    Load(load::Measure),
    /// Fill a data folder with stored sessions
    Seed(seed::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().program {
        Program::Upstream(options) => upstream::run(&options),
        Program::Baseline(options) => baseline::run(options),
        Program::Load(measure) => load::run(measure),
        Program::Seed(options) => seed::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&fault);
            ExitCode::FAILURE
        }
    }
}

/// One line on standard output: who started us reads it.
#[expect(clippy::print_stdout, reason = "a command line program")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command line program")]
fn complain(fault: &Fault) {
    eprintln!("error: {fault}");
}

/// All programs run on one thread: each gets one core.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
