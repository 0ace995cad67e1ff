//! Faults that need no process of their own: tests of the crates hold them, and this runs those.

use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use super::{Campaign, Outcome, Verdict, wait::wait_for};
use crate::shell::{Failed, cargo, run};

/// Longest the tests of one crate may run, once they are built.
const MOST: Duration = Duration::from_secs(300);

/// F10: what a provider can do wrong.
pub(super) fn upstream_scripts(campaign: &Campaign) -> Outcome {
    let faults = ["--test", "suite", "upstream_faults::", "retries::"];
    passed([("moongate-providers", &faults[..])], campaign)
}

/// F08, F09, F11 inside the process: every cut of a provider's stream, every damage of a store.
pub(super) fn cut_streams_and_stores(campaign: &Campaign) -> Outcome {
    let cuts = ["--lib", "at_any_byte", "any_cut"];
    let from_the_wire = ["--test", "wires", "at_any_byte"];
    let stores = ["--test", "faults"];
    let all = [
        ("moongate-store", &stores[..]),
        ("moongate-providers", &cuts[..]),
        ("moongate-testkit", &from_the_wire[..]),
    ];
    passed(all, campaign)
}

/// INP-09 in its long form: a hundred thousand rounds in a workspace whose folders come and go.
pub(super) fn exchanged_links(campaign: &Campaign) -> Outcome {
    passed(
        [("moongate-tools", &["--test", "tools", "--ignored", "a_hundred_thousand_exchanges"][..])],
        campaign,
    )
}

fn passed<'a>(
    groups: impl IntoIterator<Item = (&'static str, &'a [&'a str])>,
    campaign: &Campaign,
) -> Outcome {
    let mut counts = Vec::new();
    for (package, selection) in groups {
        let count = test(package, selection, campaign)?;
        counts.push(format!("{count} tests of {package}"));
    }
    Ok(Verdict::Passed(counts.join(", ")))
}

/// Runs the tests of one target whose names hold one of the words; says how many passed. None is a failure: a
/// name that changed would otherwise be a test that cannot fail.
fn test(package: &str, selection: &[&str], campaign: &Campaign) -> Result<u64, Failed> {
    let (target, words) = selection.split_at(if selection[0] == "--lib" { 1 } else { 2 });
    run(cargo().args(["test", "--quiet", "--package", package, "--no-run"]).args(target))?;
    let cannot = |e: std::io::Error| Failed::cannot(format!("the tests of {package}: {e}"));
    let mut output = tempfile::tempfile_in(&campaign.folder).map_err(cannot)?;
    let mut command = cargo();
    command.args(["test", "--package", package]).args(target).arg("--").args(words);
    run_within(&mut command, &output)
        .map_err(cannot)?
        .ok_or_else(|| Failed::new(format!("the tests of {package} did not end in {MOST:?}")))?;
    let mut said = String::new();
    output.rewind().and_then(|()| output.read_to_string(&mut said)).map_err(cannot)?;
    match outcome(&said) {
        Some((0, _)) | None => Err(Failed::new(format!("{package} has no tests {words:?}: {said}"))),
        Some((count, 0)) => Ok(count),
        Some((_, failed)) => Err(Failed::new(format!("{failed} tests of {package} failed:\n{said}"))),
    }
}

/// Runs a program to its end; nothing when it had to be ended.
fn run_within(command: &mut Command, output: &File) -> std::io::Result<Option<()>> {
    let errors = output.try_clone()?;
    // A group of its own: cargo's end alone would not end the tests it runs.
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(errors).process_group(0);
    let mut child = command.spawn()?;
    let ended = wait_for(MOST, || child.try_wait().ok().flatten());
    if ended.is_none() {
        Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
        child.wait()?;
    }
    Ok(ended.map(|_| ()))
}

/// How many tests passed and failed, as the runner says at the end.
fn outcome(said: &str) -> Option<(u64, u64)> {
    let line = said.lines().rev().find(|line| line.starts_with("test result: "))?;
    let count = |what: &str| {
        let before = line.split(';').find_map(|piece| piece.trim_end().strip_suffix(what))?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::outcome;

    #[test]
    fn the_runners_last_line_is_read() {
        let said = |line: &str| outcome(&format!("running 4 tests\n\n{line}\n\n"));
        let good =
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s";
        assert_eq!(said(good), Some((4, 0)));
        let bad =
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(said(bad), Some((3, 1)));
        assert_eq!(said("error: no such target"), None);
    }
}
