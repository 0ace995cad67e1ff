//! `cargo xtask tidy`: the rules of STYLE.md that a program can check.

mod allow;
mod claims;
mod layers;
mod rules;
mod scan;
mod size;
mod source;

use crate::shell::{Failed, report};
use allow::AllowList;
use source::Tree;

/// What to check.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Also print the largest files, functions and structs.
    #[arg(long)]
    sizes: bool,
}

/// A rule that is broken somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    /// What is wrong and what to do.
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let tree = Tree::read()?;
    let allowed = AllowList::read()?;
    let mut findings = check(&tree, &allowed);
    findings.extend(layers::check()?);
    findings.sort();
    findings.dedup();
    if options.sizes {
        size::summary(&tree).iter().for_each(|line| report(line));
    }
    for Finding { path, line, rule, advice } in &findings {
        report(&format!("{path}:{line}: {rule}: {advice}"));
    }
    if findings.is_empty() {
        report(&format!("tidy: {} Rust files, nothing to say", tree.sources.len()));
        return Ok(());
    }
    Err(Failed::new(format!("tidy: {} findings", findings.len())))
}

fn check(tree: &Tree, allowed: &AllowList) -> Vec<Finding> {
    let mut findings = allowed.check_sizes(&size::measure(tree));
    findings.extend(allowed.check_tasks(&tree.sources));
    findings.extend(tree.sources.iter().flat_map(rules::check));
    findings.extend(tree.texts.iter().flat_map(rules::check_text));
    findings.extend(claims::check(tree));
    findings
}
