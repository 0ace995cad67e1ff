//! strace: it injects faults into system calls, and tells which were made in what order.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use super::place::How;

/// Why this machine cannot trace, if it cannot.
pub(super) fn missing() -> Option<String> {
    let mut asked = Command::new("strace");
    asked.args(["-D", "-f", "-qq", "-e", "trace=none", "true"]);
    match asked.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("strace cannot trace here: {status}")),
        Err(error) => Some(format!("there is no strace: {error}")),
    }
}

/// A server under strace. The tracer runs apart (`-D`): the process we start is the server itself.
pub(super) fn traced(log: &Path, arguments: &[&str]) -> How {
    let words = ["strace", "-D", "-f", "-qq", "-o"].map(OsString::from);
    let arguments = arguments.iter().map(OsString::from);
    let before = words.into_iter().chain([log.as_os_str().to_owned()]).chain(arguments).collect();
    How { before, ..How::default() }
}

/// A system call in a trace.
#[derive(Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) thread: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
    /// The line on which it began.
    pub(super) began: usize,
    /// The line on which it had ended, and what it gave back; nothing when it never did.
    pub(super) ended: Option<(usize, &'a str)>,
}

/// Reads a trace; each thread has one call at a time.
pub(super) fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if text.starts_with("<... ") {
            let call = open.remove(thread).and_then(|index| calls.get_mut(index));
            if let Some(call) = call {
                call.ended = text.rsplit_once(" = ").map(|(_, result)| (line, result));
            }
            continue;
        }
        let Some((name, rest)) = text.split_once('(') else { continue };
        let (arguments, ended) = match rest.strip_suffix(" <unfinished ...>") {
            Some(arguments) => (arguments, None),
            None => match rest.rsplit_once(" = ") {
                Some((arguments, result)) => (arguments, Some((line, result))),
                None => continue,
            },
        };
        if ended.is_none() {
            open.insert(thread, calls.len());
        }
        calls.push(Call { thread, name, arguments, began: line, ended });
    }
    calls
}

/// The most calls of each kind that one thread made: injection counts by thread.
pub(super) fn most_of_a_thread(calls: &[Call<'_>]) -> BTreeMap<String, usize> {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for call in calls {
        *counts.entry((call.name, call.thread)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let known: &mut usize = most.entry(name.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

/// So many numbers from 1 to `most`, the ends among them.
pub(super) fn spread(most: usize, count: usize) -> Vec<usize> {
    if most <= count {
        return (1..=most).collect();
    }
    let step = |index: usize| 1 + index * (most - 1) / (count - 1).max(1);
    (0..count).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_others_interrupt_are_put_together() {
        let trace = "7 fdatasync(5</d/a-wal> <unfinished ...>\n8 write(1, \"x = y\", 5) = 5\n\
                     7 <... fdatasync resumed>) = 0\n7 +++ killed by SIGKILL +++\n";
        let calls = calls(trace);
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].began, calls[0].ended), (0, Some((2, "0"))));
        assert_eq!((calls[1].arguments, calls[1].ended), ("1, \"x = y\", 5)", Some((1, "5"))));
    }

    #[test]
    fn a_spread_holds_both_ends() {
        assert_eq!(spread(3, 5), [1, 2, 3]);
        assert_eq!(spread(101, 3), [1, 51, 101]);
    }
}
