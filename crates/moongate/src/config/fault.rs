//! What is wrong with a configuration: everything at once, each with its place.

use std::{fmt::Write as _, ops::Range, path::Path};

use super::document::line_and_column;

/// Where a fault stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// In the file, at these bytes.
    File(Range<usize>),
    /// In a variable of the environment.
    Variable(&'static str),
    /// In a flag.
    Flag(&'static str),
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    at: At,
    message: String,
}

/// All faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one.
    pub(crate) fn push(&mut self, at: At, message: impl Into<String>) {
        self.0.push(Fault { at, message: message.into() });
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line a fault: `file:line:column: what is wrong`, in the order of the file.
    pub(crate) fn render(mut self, file: Option<&Path>, text: &str) -> String {
        self.0.sort_by_key(|fault| match &fault.at {
            At::File(range) => (0, range.start),
            At::Variable(_) => (1, 0),
            At::Flag(_) => (2, 0),
        });
        // What follows from a fault at the same place is no news.
        self.0.dedup_by(|later, earlier| {
            let starts = [&later.at, &earlier.at].map(|at| match at {
                At::File(range) => Some(range.start),
                At::Variable(_) | At::Flag(_) => None,
            });
            later == earlier || (starts[0].is_some() && starts[0] == starts[1])
        });
        let name = file.map(|path| path.display().to_string()).unwrap_or_default();
        self.0.iter().fold(String::new(), |mut lines, Fault { at, message }| {
            let message = message.trim_end().replace('\n', ", ");
            let separator = if lines.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = match at {
                At::File(range) => {
                    let (line, column) = line_and_column(text, range.start);
                    write!(lines, "{separator}{name}:{line}:{column}: {message}")
                }
                At::Variable(variable) => write!(lines, "{separator}{variable}: {message}"),
                At::Flag(flag) => write!(lines, "{separator}{flag}: {message}"),
            };
            lines
        })
    }
}
