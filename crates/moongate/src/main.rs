//! Moongate: a self-hosted agent gateway, and its command line.

mod chat;
mod cli;
mod client;
mod commands;
mod config;
mod context;
mod data;
mod desk;
mod exit;
mod logging;
mod serve;
mod terminal;
mod times;
mod wiring;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

use self::{
    cli::{Cli, Command, ServeArgs},
    context::Context,
    exit::Outcome,
};

/// A turn makes and drops hundreds of small values on several threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Threads for what blocks: reading the store, files, the terminal.
const BLOCKING_THREADS: usize = 32;
/// How long what blocks may hold up the end of the process.
const LAST_MOMENT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Before anything encrypts: one provider for the whole process. Fails only when there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                // With standard error closed, the exit code has to do.
                let _ = writeln!(io::stderr().lock(), "moongate: {message}");
            }
            failure.code()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let (serve, command) = match cli.command {
        None => (cli.serve, None),
        Some(Command::Serve(args)) => (args.or(cli.serve), None),
        Some(_) if cli.serve != ServeArgs::default() => {
            let message = "--listen, --log and --log-format are for `moongate serve`";
            Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
        }
        Some(command) => (cli.serve, Some(command)),
    };
    let context = Context::new(cli.place, serve);
    let runtime = runtime(command.as_ref())?;
    let done = runtime.block_on(obey(command, &context));
    runtime.shutdown_timeout(LAST_MOMENT);
    done
}

/// Whoever serves uses all cores; whoever asks needs one thread.
fn runtime(command: Option<&Command>) -> Outcome<Runtime> {
    let mut builder = match command {
        None | Some(Command::Chat(_)) => Builder::new_multi_thread(),
        Some(_) => Builder::new_current_thread(),
    };
    Ok(builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?)
}

async fn obey(command: Option<Command>, context: &Context) -> Outcome {
    let Some(command) = command else { return serve::serve(context).await };
    match command {
        Command::Serve(_) => serve::serve(context).await,
        Command::Chat(args) => chat::run(args, context).await,
        Command::Sessions { remote, command } => commands::sessions(&remote, command, context).await,
        Command::Approvals { remote, command } => commands::approvals(&remote, command, context).await,
        Command::Questions { remote, command } => commands::questions(&remote, command, context).await,
        Command::Keys { remote, command } => commands::keys(&remote, command, context).await,
        Command::Pair(args) => commands::pair(args, context).await,
        Command::Open(args) => commands::open(&args, context).await,
        Command::Agents(args) => commands::agents(&args, context).await,
        Command::Models(args) => commands::models(&args, context).await,
        Command::Usage(args) => commands::usage(&args, context).await,
        Command::Mcp { command } => commands::mcp(command, context).await,
        Command::Doctor(args) => commands::doctor(&args, context).await,
        Command::Config { command } => commands::configuration(&command, context),
        Command::Backup { dir } => commands::backup(&dir, context),
        Command::Restore { dir } => commands::restore(&dir, context),
        Command::Openapi => commands::openapi(),
        Command::Completions { shell } => commands::completions(shell),
        Command::Man => commands::manual(),
    }
}
