//! A TOML document whose faults are all found in one run, each with its place: the operator's file, and over it
//! what clients changed.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{
    fault::{At, Faults},
    texts::Texts,
};

/// Most faults looked for in one file.
const MAX_FAULTS: usize = 100;

/// A parsed document that remembers where everything stands.
pub(crate) struct Document<'t> {
    texts: &'t Texts,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses both texts; what is no TOML is among the faults.
    pub(crate) fn parse(texts: &'t Texts, faults: &mut Faults) -> Self {
        let mut root = parse(texts.file_text(), 0, faults);
        let over = parse(texts.overlay_text(), texts.overlay_start(), faults);
        put_over(root.get_mut(), over.into_inner());
        Self { texts, root }
    }

    /// The texts it was parsed from.
    pub(crate) fn texts(&self) -> &Texts {
        self.texts
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

    /// The line the value at a path of keys stands on, in words.
    pub(crate) fn line(&self, path: &[&str]) -> Option<String> {
        let (last, above) = path.split_last()?;
        let mut table = self.root.get_ref();
        for key in above {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        let (key, _) = table.get_key_value(*last)?;
        Some(self.texts.line(key.span().start))
    }

    /// The keys that lead to what stands at `span`, with dots between them.
    pub(crate) fn key_at(&self, span: &Range<usize>) -> String {
        let mut keys = Vec::new();
        find_at(self.root.get_ref(), span, &mut keys);
        keys.join(".")
    }
}

/// Parses a text whose first byte has this number.
fn parse<'t>(text: &'t str, start: usize, faults: &mut Faults) -> Spanned<DeTable<'t>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors.into_iter().take(MAX_FAULTS) {
        faults.push(At::File(moved(error.span().unwrap_or(0..0), start)), error.message());
    }
    Spanned::new(moved(root.span(), start), moved_table(root.into_inner(), start))
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn moved_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entries = table
        .into_iter()
        .map(|(key, value)| (Spanned::new(moved(key.span(), by), key.into_inner()), moved_value(value, by)));
    entries.collect()
}

fn moved_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| moved_value(item, by)).collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

/// Puts a table over another: tables are merged, everything else takes the place of what was there.
fn put_over<'t>(below: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        if let Some(DeValue::Table(below)) = below.get_mut(&key).map(Spanned::get_mut)
            && value.get_ref().is_table()
        {
            if let DeValue::Table(over) = value.into_inner() {
                put_over(below, over);
            }
            continue;
        }
        // The key's place is the new one's too.
        below.remove(&key);
        below.insert(key, value);
    }
}

/// The keys of the innermost entry that stands at `span`.
fn find_at(table: &DeTable<'_>, span: &Range<usize>, keys: &mut Vec<String>) -> bool {
    table.iter().any(|(key, value)| {
        keys.push(key.get_ref().to_string());
        let here = [key.span(), value.span()].iter().any(|at| at.start <= span.start && span.end <= at.end);
        let found = value.get_ref().as_table().is_some_and(|inner| find_at(inner, span, keys)) || here;
        if !found {
            keys.pop();
        }
        found
    })
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
