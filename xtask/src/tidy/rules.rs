//! Rules about single lines: what product code may not say, and where the exceptions live.

use super::{
    Finding,
    source::{Source, Text},
};

/// Places that are no product: automation and what tests are made of.
const SUPPORT: &[&str] = &["xtask/", "crates/testkit/"];

/// A text that may stand in some files only.
struct Reserved {
    rule: &'static str,
    texts: &'static [&'static str],
    /// Files and folders that may say it.
    only_in: &'static [&'static str],
    advice: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        rule: "hand-built-json",
        texts: &["json!("],
        only_in: SUPPORT,
        advice: "write a type that serializes",
    },
    Reserved {
        rule: "environment",
        texts: &["env::var", "env::set_var", "env::remove_var"],
        only_in: &["xtask/", "crates/testkit/", "crates/moongate/src/config", "crates/moongate/src/env"],
        advice: "the environment is read once, in the binary's configuration: take the value as a parameter",
    },
    Reserved {
        rule: "rights",
        texts: &["Caller::authenticated"],
        only_in: &["crates/core/src/caller", "crates/server/src/caller", "crates/testkit/"],
        advice: "only authentication makes a caller: take one as a parameter",
    },
    Reserved {
        rule: "processes",
        texts: &["process::Command", "Command::new(", "CommandExt", "libc::fork", "execve"],
        only_in: &["xtask/", "crates/testkit/", "crates/tools/src/sandbox/process.rs"],
        advice: "one function starts processes, in crates/tools/src/sandbox/process.rs",
    },
];

/// Words that say nothing about a type.
const EMPTY_WORDS: &[&str] = &["Manager", "Service", "Handler", "Util", "Utils", "Helper", "Helpers"];

/// Ends of type names that stand for an untyped id.
const UNTYPED: &[&str] = &["String", "str", "Arc<str>", "Option<String>", "Option<&str>", "Vec<String>"];

/// Folders of one machine; written apart so that this file does not break its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];

/// Hosts of package registries; they belong to the machine's set-up.
const REGISTRY_HOSTS: &[&str] = &[concat!("arti", "factory"), concat!("index.crates", ".io:")];

/// Checks one Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in source.product().iter().enumerate() {
        let mut find =
            |rule, advice: String| findings.push(Finding::new(&source.path, line + 1, rule, advice));
        for reserved in RESERVED.iter().filter(|reserved| !source.is_in(reserved.only_in)) {
            if let Some(said) = reserved.texts.iter().find(|said| find_word(text, said).is_some()) {
                find(reserved.rule, format!("`{said}` may not stand here: {}", reserved.advice));
            }
        }
        if let Some(word) = empty_name(text) {
            find("names", format!("`{word}` says nothing: name the thing it holds or does"));
        }
        if source.is_in(&["crates/core/"])
            && let Some(name) = untyped_id(text)
        {
            find("typed-ids", format!("`{name}` is an id: give it its type"));
        }
    }
    findings.extend(check_attributes(source));
    findings.extend(check_strings(source));
    findings
}

/// Checks a file that is not Rust.
pub(super) fn check_text(file: &Text) -> Vec<Finding> {
    let local =
        |line: &str| MACHINE_PATHS.iter().take(2).chain(REGISTRY_HOSTS).find(|path| line.contains(**path));
    let lines = file.text.lines().enumerate();
    let found = lines.filter_map(|(line, text)| local(text).map(|path| (line, path)));
    found.map(|(line, path)| machine_path(&file.path, line, path)).collect()
}

/// Tests are held to this one too: an expectation that is no longer met tells, an allowance never does.
fn check_attributes(source: &Source) -> Vec<Finding> {
    let allows = |text: &str| text.contains("#[allow(") || text.contains("#![allow(");
    let lines = source.scanned.code.iter().enumerate().filter(|(_, text)| allows(text));
    let advice = "write #[expect(…, reason = \"…\")]: it tells when it is no longer needed";
    lines.map(|(line, _)| Finding::new(&source.path, line + 1, "allow-attribute", advice)).collect()
}

fn check_strings(source: &Source) -> Vec<Finding> {
    let local = |text: &str| MACHINE_PATHS.iter().chain(REGISTRY_HOSTS).find(|path| text.contains(**path));
    let found = source.product_strings().filter_map(|(line, text)| local(text).map(|path| (*line, path)));
    found.map(|(line, path)| machine_path(&source.path, line, path)).collect()
}

fn machine_path(path: &str, line: usize, found: &str) -> Finding {
    Finding::new(
        path,
        line + 1,
        "machine-path",
        format!("`{found}` belongs to one machine, not to the project"),
    )
}

/// Where `word` stands in `line` without being the end of a longer identifier.
pub(super) fn find_word(line: &str, word: &str) -> Option<usize> {
    line.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A type declared on this line whose name ends in an empty word.
fn empty_name(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| matches!(*word, "struct" | "enum" | "trait"))?;
    words.next().filter(|name| EMPTY_WORDS.iter().any(|empty| name.ends_with(empty)))
}

/// A parameter or field on this line that is an id by name and text by type.
fn untyped_id(line: &str) -> Option<&str> {
    line.match_indices(": ").find_map(|(at, _)| {
        let name = line.get(..at)?.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        let of = line.get(at + 2..)?.trim_start_matches('&').trim_start_matches("mut ");
        let is_text = UNTYPED.iter().any(|text| {
            of.strip_prefix(text)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ')', ' ', ';']))
        });
        (is_text && (name == "id" || name.ends_with("_id"))).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn reserved_texts_are_found_outside_their_places_only() {
        let cases = [
            ("let x = serde_json::json!({});", "crates/server/src/a.rs", "hand-built-json"),
            ("let x = std::env::var(NAME);", "crates/moongate/src/serve.rs", "environment"),
            ("Caller::authenticated(a, b, c, d)", "crates/server/src/door/http.rs", "rights"),
            ("use tokio::process::Command;", "crates/providers/src/a.rs", "processes"),
        ];
        for (line, path, rule) in cases {
            assert_eq!(rules(path, line), [rule]);
            assert!(rules("crates/server/tests/a.rs", line).is_empty(), "tests may say {line}");
            assert!(rules(path, &format!("// {line}")).is_empty(), "comments may say {line}");
        }
        assert!(rules("crates/moongate/src/config/environment.rs", "std::env::var(NAME)").is_empty());
        assert!(rules("crates/server/src/caller.rs", "Caller::authenticated()").is_empty());
        let starts = "let mut command = Command::new(program);";
        assert!(rules("crates/tools/src/sandbox/process.rs", starts).is_empty());
        for elsewhere in
            ["crates/tools/src/sandbox/program.rs", "crates/core/src/a.rs", "crates/moongate/src/a.rs"]
        {
            assert_eq!(rules(elsewhere, starts), ["processes"]);
        }
    }

    #[test]
    fn ids_have_types_in_the_engine() {
        let text = "fn f(session_id: &str, id: String, turn: TurnId, valid: String, idea: &str) {}";
        assert_eq!(rules("crates/core/src/a.rs", text), ["typed-ids"]);
        assert!(rules("crates/providers/src/a.rs", text).is_empty());
        assert!(rules("crates/core/src/a.rs", "call_id: CallId, id: SessionId, widow: String,").is_empty());
    }

    #[test]
    fn machine_paths_and_allowances_are_found() {
        let path = MACHINE_PATHS[0];
        assert_eq!(rules("crates/a/src/a.rs", &format!("let x = \"{path}main\";")), ["machine-path"]);
        assert!(rules("crates/a/tests/a.rs", &format!("let x = \"{path}main\";")).is_empty());
        assert_eq!(rules("crates/a/tests/a.rs", "#[allow(dead_code)]"), ["allow-attribute"]);
        assert_eq!(check_text(&Text { path: "a.md".into(), text: format!("see\n{path}x") })[0].line, 2);
    }

    #[test]
    fn types_have_names_that_say_something() {
        assert_eq!(rules("crates/a/src/a.rs", "pub struct SessionManager {"), ["names"]);
        assert!(rules("crates/a/src/a.rs", "impl tower::Service for App {").is_empty());
    }
}
