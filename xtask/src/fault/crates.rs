//! Faults that need no process of their own: tests of the crates hold them, and this runs those.

use super::{Campaign, Outcome, Verdict};
use crate::shell::{cargo, run};

/// F10: what a provider can do wrong.
pub(super) fn upstream_scripts(_: &Campaign) -> Outcome {
    test("moongate-providers", &["--test", "suite", "--", "upstream_faults::", "retries::"])
}

/// F08, F09, F11 inside the process: every cut of a provider's stream, every damage of a store.
pub(super) fn cut_streams_and_stores(_: &Campaign) -> Outcome {
    test("moongate-store", &["--test", "faults"])?;
    test("moongate-providers", &["--lib", "--", "at_any_byte"])
}

fn test(package: &str, selection: &[&str]) -> Outcome {
    run(cargo().args(["test", "--quiet", "--package", package]).args(selection))?;
    Ok(Verdict::Passed(format!("the tests of {package}")))
}
