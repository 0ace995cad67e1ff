//! `cargo xtask deny`: licences, bans and sources of the dependencies, by the rules of `deny.toml`.

use crate::shell::{self, Failed};

/// The version the gate installs; another one may read `deny.toml` differently.
pub(crate) const VERSION: &str = "0.20.2";

pub(crate) fn run() -> Result<(), Failed> {
    if !shell::has_cargo_command("deny") {
        let install = format!("cargo install cargo-deny --locked --version {VERSION}");
        return Err(Failed::cannot(format!("cargo-deny is not installed: `{install}`")));
    }
    shell::run(shell::cargo().args(["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}
