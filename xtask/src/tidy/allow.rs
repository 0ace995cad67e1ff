//! What stands above a limit today. The list can only shrink: an entry that is larger than the thing, or that
//! is needed no more, is a finding like any other.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;

use super::{
    Finding,
    rules::find_word,
    size::{Limit, Measure},
    source::Source,
};
use crate::shell::Failed;

const PATH: &str = "xtask/tidy-allow.toml";

/// Calls that start a task or a thread.
const SPAWNS: &[&str] =
    &["tokio::spawn(", "task::spawn(", "spawn_local(", "thread::spawn(", "thread::Builder::new("];

/// The list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowList {
    #[serde(default)]
    size: Vec<AllowedSize>,
    #[serde(default)]
    task: Vec<AllowedTasks>,
}

/// Something larger than its limit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedSize {
    limit: Limit,
    at: String,
    size: usize,
    /// Why it is better so.
    reason: String,
}

/// A file that starts tasks or threads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedTasks {
    path: String,
    count: usize,
    /// Who waits for them or ends them.
    owner: String,
}

impl AllowList {
    pub(super) fn read() -> Result<Self, Failed> {
        let text = fs::read_to_string(PATH).map_err(|e| Failed::cannot(format!("{PATH}: {e}")))?;
        toml::from_str(&text).map_err(|e| Failed::cannot(format!("{PATH}: {e}")))
    }

    /// Holds every measure against its limit or its entry.
    pub(super) fn check_sizes(&self, measures: &[Measure]) -> Vec<Finding> {
        let mut largest: BTreeMap<(Limit, &str), &Measure> = BTreeMap::new();
        for measure in measures {
            let kept = largest.entry((measure.limit, &measure.at)).or_insert(measure);
            if measure.size > kept.size {
                *kept = measure;
            }
        }
        let above = largest.values().filter(|m| m.size > m.limit.most()).filter_map(|m| self.too_large(m));
        let entries = self.size.iter().filter_map(|entry| {
            let measure = largest.get(&(entry.limit, entry.at.as_str())).copied();
            entry.fault(measure).map(|advice| Finding::new(PATH, 1, entry.limit.name(), advice))
        });
        above.chain(entries).collect()
    }

    fn too_large(&self, measure: &Measure) -> Option<Finding> {
        let Measure { limit, path, line, at, size } = measure;
        let entry = self.size.iter().find(|entry| entry.limit == *limit && entry.at == *at);
        let most = entry.map_or(limit.most(), |entry| entry.size.max(limit.most()));
        let advice = format!("{at} has {size}, at most {most}: find the noun that is missing, do not slice");
        (*size > most).then(|| Finding::new(path, *line, limit.name(), advice))
    }

    /// Holds every started task against the list of owners.
    pub(super) fn check_tasks(&self, sources: &[Source]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for source in sources.iter().filter(|source| !source.is_in(&["crates/testkit/"])) {
            for (line, text) in source.product().iter().enumerate().filter(|(_, text)| spawns(text)) {
                *counts.entry(&source.path).or_default() += 1;
                if is_detached(text) {
                    let advice = "the handle is dropped: give the task an owner that waits for it or ends it";
                    findings.push(Finding::new(&source.path, line + 1, "detached-task", advice));
                }
            }
        }
        for (path, count) in &counts {
            if !self.task.iter().any(|entry| entry.path == *path && entry.count == *count) {
                let advice = format!("{count} tasks or threads are started: name their owner in {PATH}");
                findings.push(Finding::new(path, 1, "owned-task", advice));
            }
        }
        findings.extend(self.task.iter().filter_map(|entry| entry.fault(&counts)));
        findings
    }
}

impl AllowedSize {
    fn fault(&self, measure: Option<&Measure>) -> Option<String> {
        let Self { at, size, .. } = self;
        match measure {
            _ if self.reason.trim().is_empty() => Some(format!("{at}: the entry needs a reason")),
            None => Some(format!("{at} is gone: remove the entry")),
            Some(m) if m.size <= m.limit.most() => {
                Some(format!("{at} is within the limit: remove the entry"))
            }
            Some(m) if m.size < *size => Some(format!("{at} shrank to {}: lower the entry", m.size)),
            Some(_) => None,
        }
    }
}

impl AllowedTasks {
    fn fault(&self, counts: &BTreeMap<&str, usize>) -> Option<Finding> {
        let Self { path, owner, .. } = self;
        let advice = if owner.trim().is_empty() {
            format!("{path}: the entry needs an owner")
        } else if !counts.contains_key(path.as_str()) {
            format!("{path} starts no task: remove the entry")
        } else {
            return None;
        };
        Some(Finding::new(PATH, 1, "owned-task", advice))
    }
}

fn spawns(line: &str) -> bool {
    SPAWNS.iter().any(|call| find_word(line, call).is_some())
}

/// Whether the call is a statement of its own, or its result is thrown away by name.
fn is_detached(line: &str) -> bool {
    let text = line.trim_start();
    let text = text.strip_prefix("std::").or_else(|| text.strip_prefix("tokio::")).unwrap_or(text);
    text.starts_with("let _ =")
        || SPAWNS.iter().any(|call| text.starts_with(call.trim_start_matches("tokio::")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(size: usize) -> Measure {
        Measure { limit: Limit::FileLines, path: "a.rs".into(), line: 1, at: "a.rs".into(), size }
    }

    fn list(text: &str) -> AllowList {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_an_entry_of_the_real_size_excuses_one_above_the_limit() {
        let entry = |size| {
            list(&format!("size = [{{ limit = 'file-lines', at = 'a.rs', size = {size}, reason = 'x' }}]"))
        };
        let faults = |list: AllowList, size| list.check_sizes(&[measure(size)]).len();
        assert_eq!(faults(AllowList::default(), 400), 0);
        assert_eq!(faults(AllowList::default(), 401), 1);
        assert_eq!(faults(entry(450), 450), 0);
        assert_eq!(faults(entry(450), 451), 1, "it grew");
        assert_eq!(faults(entry(450), 449), 1, "the entry has to be lowered");
        assert_eq!(faults(entry(450), 400), 1, "the entry has to go");
        assert_eq!(entry(450).check_sizes(&[]).len(), 1, "the file is gone");
    }

    #[test]
    fn a_started_task_needs_an_owner_and_its_handle() {
        let entry = list("task = [{ path = 'a.rs', count = 1, owner = 'the gateway joins it' }]");
        let held = [Source::new("a.rs", "fn f() {\n    let task = tokio::spawn(g());\n}\n")];
        let dropped = [Source::new("a.rs", "fn f() {\n    tokio::spawn(g());\n}\n")];
        let thread = [Source::new("a.rs", "fn f() {\n    let _ = std::thread::spawn(g);\n}\n")];
        let none = [Source::new("a.rs", "fn f(set: &mut JoinSet<()>) {\n    set.spawn(g());\n}\n")];
        assert_eq!(AllowList::default().check_tasks(&held).len(), 1);
        assert_eq!(entry.check_tasks(&held), []);
        assert_eq!(entry.check_tasks(&dropped).len(), 1);
        assert_eq!(entry.check_tasks(&thread).len(), 1);
        assert_eq!(entry.check_tasks(&none).len(), 1, "the entry has to go");
    }
}
