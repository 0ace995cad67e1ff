//! What is wrong with a configuration: everything at once, each with its place.

use std::{fmt, ops::Range};

use super::document::Document;

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

    /// All of them in the order of the texts, each with its place and the key it is about.
    pub(crate) fn explain(mut self, document: &Document<'_>) -> Wrong {
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
        let explained = self.0.into_iter().map(|Fault { at, message }| {
            let message = message.trim_end().replace('\n', ", ");
            match at {
                At::File(range) => {
                    let key = document.key_at(&range);
                    Explained { place: document.texts().place(range.start), key, message }
                }
                At::Variable(name) | At::Flag(name) => {
                    Explained { place: name.to_owned(), key: name.to_owned(), message }
                }
            }
        });
        Wrong(explained.collect())
    }
}

/// A fault, for people.
#[derive(Debug)]
struct Explained {
    place: String,
    key: String,
    message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub(crate) struct Wrong(Vec<Explained>);

impl Wrong {
    /// Each with the key it is about, for whoever does not see the files.
    pub(crate) fn by_key(self) -> Vec<String> {
        let said = |Explained { key, message, .. }: Explained| match key.is_empty() {
            true => message,
            false => format!("{key}: {message}"),
        };
        self.0.into_iter().map(said).collect()
    }
}

/// One line a fault: `file:line:column: what is wrong`.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Explained { place, message, .. }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{place}: {message}")?;
        }
        Ok(())
    }
}
