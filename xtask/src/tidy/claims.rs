//! A promise in a document names the tests that keep it: every row of a table with a column `Tests` does.

use std::collections::BTreeSet;

use super::{
    Finding,
    source::{Source, Text, Tree},
};

/// Documents whose tables are promises.
const DOCUMENTS: &[&str] = &["GUARANTEES.md", "SECURITY.md", "ARCHITECTURE.md"];

/// Checks that each named test is a function somewhere in the tree.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let functions = functions(tree);
    let documents = tree.texts.iter().filter(|text| DOCUMENTS.contains(&text.path.as_str()));
    documents.flat_map(|document| check_document(document, &functions)).collect()
}

/// Names of test functions, and of xtask's own, whose campaigns are tests too.
fn functions(tree: &Tree) -> BTreeSet<&str> {
    let campaigns = |source: &Source| source.path.starts_with("xtask/");
    let mut names = BTreeSet::new();
    for source in &tree.sources {
        let mut is_test = campaigns(source);
        for line in &source.scanned.code {
            let text = line.trim();
            is_test |= text.starts_with("#[") && text.contains("test");
            if let Some((_, rest)) = text.split_once("fn ") {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                if is_test {
                    names.insert(rest.get(..end).unwrap_or(rest));
                }
                is_test = campaigns(source);
            }
        }
    }
    names
}

fn check_document(document: &Text, functions: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut column = None;
    for (line, text) in document.text.lines().enumerate() {
        let Some(cells) = cells(text) else {
            column = None;
            continue;
        };
        let Some(at) = column else {
            column = cells.iter().position(|cell| *cell == "Tests").or(Some(usize::MAX));
            continue;
        };
        let is_rule = cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':' | ' ')));
        if at == usize::MAX || is_rule {
            continue;
        }
        let cell = cells.get(at).copied().unwrap_or_default();
        findings.extend(
            missing(cell, functions)
                .map(|advice| Finding::new(&document.path, line + 1, "named-tests", advice)),
        );
    }
    findings
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn missing(cell: &str, functions: &BTreeSet<&str>) -> impl Iterator<Item = String> {
    let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    let none = names.is_empty().then(|| "the row names no test: name one or remove the row".to_owned());
    let unknown = names.into_iter().filter(|name| {
        let last = name.rsplit("::").next().unwrap_or(name);
        !functions.contains(last)
    });
    let unknown: Vec<String> = unknown.map(|name| format!("there is no test `{name}`")).collect();
    none.into_iter().chain(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_tests_that_exist() {
        let text = "| G | Tests |\n| --- | --- |\n| G1 | `kept`, `module::kept` |\n| G2 | `gone` |\n| G3 | none |\n\n| a | b |\n| --- | --- |\n| x | `y` |\n";
        let tree = Tree {
            sources: vec![Source::new(
                "crates/a/tests/a.rs",
                "#[tokio::test]\nasync fn kept() {}\nfn y() {}\nfn gone() {}\n",
            )],
            texts: vec![Text { path: "GUARANTEES.md".into(), text: text.into() }],
        };
        let lines: Vec<usize> = check(&tree).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [4, 5]);
    }
}
