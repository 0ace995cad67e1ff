//! `cargo xtask fuzz`: what reads what strangers send, given what nobody would send. `crates/server/src/fuzzing.rs` has
//! the targets, `fuzz/corpus` their seeds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{self, Failed, report};

/// The version of cargo-fuzz we tried.
const VERSION: &str = "0.13.2";

/// The seeds, a folder for each target.
const SEEDS: &str = "fuzz/corpus";

/// What is found goes here, and from here into the seeds only when asked for.
const FOUND: &str = "target/fuzz";

/// Longest input, in bytes: a few frames' worth, so that many are tried.
const LONGEST: usize = 4096;

/// Seconds one input may take.
const INPUT_SECONDS: u32 = 5;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// Keep what reaches code that no seed reaches, as seeds.
    #[arg(long)]
    keep: bool,
    /// Only these targets, by name.
    #[arg(value_name = "TARGET")]
    only: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let all = targets()?;
    if let Some(unknown) = options.only.iter().find(|name| !all.contains(name)) {
        return Err(Failed::cannot(format!("there is no target `{unknown}`; there are {}", all.join(", "))));
    }
    if !shell::has_cargo_command("fuzz") {
        return Err(Failed::cannot(format!(
            "cargo install cargo-fuzz --locked --version {VERSION} comes first"
        )));
    }
    let wanted = |name: &&String| options.only.is_empty() || options.only.contains(name);
    for name in all.iter().filter(wanted) {
        report(&format!("== {name}"));
        let found = std::path::absolute(Path::new(FOUND).join(name));
        let found = found.map_err(|e| Failed::cannot(format!("cannot name a folder: {e}")))?;
        fs::create_dir_all(&found).map_err(|e| Failed::cannot(format!("{}: {e}", found.display())))?;
        let seeds = PathBuf::from(SEEDS).join(name);
        let mut fuzz = fuzzer(name);
        fuzz.args([&found, &seeds]).args(["--", &format!("-max_total_time={}", options.seconds)]);
        fuzz.args([format!("-max_len={LONGEST}"), format!("-timeout={INPUT_SECONDS}")]);
        shell::run(fuzz.args(["-print_final_stats=1", "-verbosity=0"]))?;
        if options.keep {
            let mut merge = fuzzer(name);
            shell::run(merge.args([&seeds, &found]).args(["--", "-merge=1", "-verbosity=0"]))?;
        }
    }
    Ok(())
}

/// Coverage is what guides it; nothing here is unsafe, so there is nothing for a sanitizer to find.
fn fuzzer(name: &str) -> Command {
    let mut command = shell::cargo();
    command.args(["fuzz", "run", "--sanitizer", "none", name]);
    // Its flags are not stable yet; the compiler is the one everything else is built with.
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

fn targets() -> Result<Vec<String>, Failed> {
    let cannot = |e: std::io::Error| Failed::cannot(format!("{SEEDS}: {e}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(SEEDS).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
