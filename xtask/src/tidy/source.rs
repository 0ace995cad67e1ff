//! The files of the checkout, each with what it counts as.

use std::{fs, process::Command};

use super::scan::{Scanned, scan};
use crate::shell::{self, Failed};

/// Folders that hold no product code.
const TEST_FOLDERS: &[&str] =
    &["tests", "benches", "examples", "fuzz", "fixtures", "generated", "gen", "sim", "integration", "test"];

/// Everything tidy looks at.
#[derive(Default)]
pub(super) struct Tree {
    /// All Rust files.
    pub(super) sources: Vec<Source>,
    /// All other text files.
    pub(super) texts: Vec<Text>,
}

/// A Rust file.
pub(super) struct Source {
    /// From the workspace's root.
    pub(super) path: String,
    /// Its text in kinds.
    pub(super) scanned: Scanned,
    /// How many of its lines are product code: none in a test file, and all before the test module elsewhere.
    pub(super) product_lines: usize,
}

/// A file that is not Rust.
pub(super) struct Text {
    /// From the workspace's root.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
}

impl Tree {
    /// Reads every file that is in the repository or about to be.
    pub(super) fn read() -> Result<Self, Failed> {
        let listed = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
        let names = shell::read(Command::new("git").args(listed))?;
        let mut tree = Self::default();
        for path in names.split('\0').filter(|name| !name.is_empty()) {
            // A file that is deleted but not yet committed so, and one that is not text, say nothing.
            let Ok(text) = fs::read_to_string(path) else { continue };
            if path.ends_with(".rs") {
                tree.sources.push(Source::new(path, &text));
            } else {
                tree.texts.push(Text { path: path.to_owned(), text });
            }
        }
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let scanned = scan(text);
        let product_lines = if is_test_file(path) { 0 } else { before_tests(&scanned.code) };
        Self { path: path.to_owned(), scanned, product_lines }
    }

    /// The product code.
    pub(super) fn product(&self) -> &[String] {
        self.scanned.code.get(..self.product_lines).unwrap_or_default()
    }

    /// The string literals of the product code.
    pub(super) fn product_strings(&self) -> impl Iterator<Item = &(usize, String)> {
        self.scanned.strings.iter().filter(|(line, _)| *line < self.product_lines)
    }

    /// Whether the file is at or beneath one of these paths.
    pub(super) fn is_in(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.path.starts_with(path))
    }
}

fn is_test_file(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| TEST_FOLDERS.contains(&folder))
        || name.ends_with("tests.rs")
        || (name.starts_with("test") && !path.starts_with("xtask/"))
}

/// Lines before the first `#[cfg(test)] mod name {`.
fn before_tests(code: &[String]) -> usize {
    let opens = |line: &String| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        line.starts_with("mod ") && line.ends_with('{')
    };
    let starts = code.windows(2).position(|pair| match pair {
        [attribute, module] => attribute.starts_with("#[cfg(test)]") && opens(module),
        _ => false,
    });
    starts.unwrap_or(code.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_code_ends_where_the_tests_begin() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(Source::new("crates/x/src/a.rs", text).product().len(), 1);
        assert_eq!(Source::new("crates/x/tests/a.rs", text).product().len(), 0);
        assert_eq!(Source::new("crates/x/src/a_tests.rs", text).product().len(), 0);
        assert_eq!(
            Source::new("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;\nfn c() {}\n").product().len(),
            3
        );
    }
}
