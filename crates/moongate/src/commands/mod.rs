//! The commands that ask a server, or look at what is on disk, and print what they find.

mod approvals;
mod backup;
mod configuration;
mod doctor;
mod keys;
mod lists;
mod mcp;
mod open;
mod pair;
mod questions;
mod sessions;
mod transcript;

use std::io::{self, Write as _};

pub(crate) use self::{
    approvals::approvals,
    backup::{backup, restore},
    configuration::configuration,
    doctor::doctor,
    keys::keys,
    lists::{agents, models, usage},
    mcp::mcp,
    open::open,
    pair::pair,
    questions::questions,
    sessions::sessions,
};
use crate::{cli::Cli, exit::Outcome};

/// Prints what a server answered, as it is.
fn print_json(body: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(body)?;
    Ok(writeln!(stdout)?)
}

/// Prints one line of a result.
fn print_line(text: &str) -> Outcome {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Says on standard error what was done, when somebody looks.
fn confirm(text: &str) -> Outcome {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// Prints the OpenAPI document of the native door.
pub(crate) fn openapi() -> Outcome {
    print_line(&moongate_server::document()?)
}

/// Prints a shell's completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "moongate", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}

/// Prints the manual page.
pub(crate) fn manual() -> Outcome {
    let page = clap_mangen::Man::new(<Cli as clap::CommandFactory>::command());
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(io::stdout().lock().write_all(&text)?)
}

/// A text as a part of a query.
fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}
