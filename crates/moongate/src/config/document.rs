//! A TOML document whose faults are all found in one run, each with its place.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::fault::{At, Faults};

/// Most faults looked for in one file.
const MAX_FAULTS: usize = 100;

/// A parsed document that remembers where everything stands.
pub(crate) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses a document; what is no TOML is among the faults.
    pub(crate) fn parse(text: &'t str, faults: &mut Faults) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors.into_iter().take(MAX_FAULTS) {
            faults.push(At::File(error.span().unwrap_or(0..0)), error.message());
        }
        Self { text, root }
    }

    /// Reads the document as a `T`. What does not fit is put among the faults and left out.
    pub(crate) fn decode<T: DeserializeOwned + Default>(&self, faults: &mut Faults) -> T {
        let mut root = self.root.clone();
        for _ in 0..MAX_FAULTS {
            let error = match T::deserialize(Deserializer::from(root.clone())) {
                Ok(value) => return value,
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            faults.push(At::File(span.clone()), error.message());
            if !remove_at(root.get_mut(), &span) {
                break;
            }
        }
        T::default()
    }

    /// Where the value at a path of keys stands; the nearest table above it when it is not there.
    pub(crate) fn place(&self, path: &[&str]) -> At {
        let mut table = self.root.get_ref();
        let mut span = 0..0;
        for key in path {
            let Some((found, value)) = table.get_key_value(*key) else { break };
            let inner = value.get_ref().as_table();
            span = if inner.is_some() { found.span() } else { value.span() };
            let Some(inner) = inner else { break };
            table = inner;
        }
        At::File(span)
    }

    /// The line the value at a path of keys stands on, counted from 1.
    pub(crate) fn line(&self, path: &[&str]) -> Option<usize> {
        let (last, above) = path.split_last()?;
        let mut table = self.root.get_ref();
        for key in above {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        let (key, _) = table.get_key_value(*last)?;
        Some(line_and_column(self.text, key.span().start).0)
    }
}

/// Line and column of a byte, both counted from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Takes out the innermost entry that stands at `span`; whether there was one.
fn remove_at(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let inner = table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove_at(inner, span),
        _ => false,
    });
    if inner {
        return true;
    }
    let here = |range: Range<usize>| range.start <= span.start && span.end <= range.end;
    let found = table.iter().find(|(key, value)| here(key.span()) || here(value.span()));
    let Some(key) = found.map(|(key, _)| key.clone()) else { return false };
    table.remove(&key).is_some()
}
