//! What is written late: where a session's rows are, which words are where, and the rows of turns.
//!
//! Adding a few entries to them costs nearly as much as adding a few hundred, so entries wait in the writer
//! until there are many or somebody searches. Nobody reads past what waits: a session's newest rows are found
//! from its tail, a turn is looked for among those that wait, and a search or a list has everything written first. Which rows are indexed is written with the
//! indexes, and what waited when the process ended is read back from the log.

use std::sync::Arc;

use moongate_core::{Derived, SearchHit, TurnChange, spaced, terms};
use moongate_protocol::{Epoch, Seq, Tenant};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    apply::session_id,
    lines::LogRow,
    prepare::{int, number},
    waiting_turns::{Session, WaitingTurns},
};

/// Texts that wait before they are added to the index with the next append.
const MAX_WAITING: usize = 512;
/// Turns that wait before their rows are written with the next append.
const MAX_TURNS: usize = 512;
/// Rows of the log that wait before they are added to the index of places.
const MAX_PLACES: usize = 1024;
/// Bytes of texts that wait before they are added to the index.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// A text's place in its append has this many bits of its number in the index.
const PLACE_BITS: u32 = 20;
/// Index pages one sweep merges, so that deleted words leave the disk.
const TIDY_PAGES: i64 = 500;

/// A text to be found.
#[derive(Debug)]
pub(crate) struct Doc {
    session: i64,
    rowid: i64,
    text: String,
}

impl Doc {
    /// A message, by the row of the log it is in and its place there; `None` past the last countable place.
    pub(crate) fn message(session: i64, log: i64, place: u64, text: &str) -> Option<Self> {
        let fits = place < 1 << PLACE_BITS && log < i64::MAX >> PLACE_BITS;
        let rowid = (log << PLACE_BITS) | int(place);
        fits.then(|| Self { session, rowid, text: spaced(text).into_owned() })
    }

    /// A session's title.
    pub(crate) fn title(session: i64, title: &str) -> Self {
        Self { session, rowid: -session, text: spaced(title).into_owned() }
    }

    /// Adds the text to the index, instead of the one it replaces.
    pub(crate) fn insert(&self, connection: &Connection) -> Result<()> {
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO find (rowid, text) VALUES (?1, ?2)")?;
        statement.execute((self.rowid, &self.text)).map(|_| ())
    }
}

/// Where a row of the log is to be found.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) session: i64,
    pub(crate) last: i64,
    pub(crate) log: i64,
}

impl Place {
    fn insert(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached("INSERT OR REPLACE INTO place (session, last, log) VALUES (?1, ?2, ?3)")?
            .execute((self.session, self.last, self.log))
            .map(|_| ())
    }
}

/// What waits to be added to the indexes.
#[derive(Debug)]
pub(crate) struct Finder {
    places: Vec<Place>,
    waiting: Vec<Doc>,
    bytes: usize,
    turns: Arc<WaitingTurns>,
    /// Rows of the log an earlier process wrote and did not index.
    behind: Option<(i64, i64)>,
}

impl Finder {
    pub(crate) fn load(connection: &Connection, turns: Arc<WaitingTurns>) -> Result<(Self, i64)> {
        let indexed = indexed(connection)?;
        let last: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM log", (), |row| row.get(0))?;
        let behind = (last > indexed).then_some((indexed, last));
        turns.clear();
        Ok((Self { places: Vec::new(), waiting: Vec::new(), bytes: 0, turns, behind }, indexed))
    }

    pub(crate) fn push(&mut self, doc: impl Into<Option<Doc>>) {
        if let Some(doc) = doc.into() {
            self.bytes += doc.text.len();
            self.waiting.push(doc);
        }
    }

    pub(crate) fn push_place(&mut self, place: Place) {
        self.places.push(place);
    }

    pub(crate) fn push_turns(&mut self, session: Session<'_>, changes: &[TurnChange]) {
        self.turns.push(session, changes);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= MAX_PLACES
            || self.turns.len() >= MAX_TURNS
            || self.waiting.len() >= MAX_WAITING
            || self.bytes >= MAX_WAITING_BYTES
    }

    /// Whether a search or a list would miss something.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.turns.len() > 0 || self.has_unread()
    }

    /// Whether the log has rows that an earlier process wrote and nobody read yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.behind.is_some()
    }

    /// Writes everything that waits. Call [`Self::flushed`] when it is on disk.
    pub(crate) fn flush(&mut self, connection: &Connection, last_log: i64) -> Result<()> {
        if self.places.is_empty() && !self.is_behind() {
            return Ok(());
        }
        if let Some((indexed, last)) = self.behind {
            catch_up(connection, indexed, last, &self.turns)?;
        }
        // In the order they are kept in, so that each page is looked for once.
        self.places.sort_unstable_by_key(|place| (place.session, place.last));
        self.places.iter().try_for_each(|place| place.insert(connection))?;
        self.waiting.iter().try_for_each(|doc| doc.insert(connection))?;
        self.turns.write(connection)?;
        mark_indexed(connection, last_log)
    }

    pub(crate) fn flushed(&mut self) {
        self.places.clear();
        self.waiting.clear();
        self.turns.clear();
        self.bytes = 0;
        self.behind = None;
    }

    /// Removes a session's texts, which are in these rows of the log.
    pub(crate) fn delete(&mut self, connection: &Connection, session: i64, rows: &[i64]) -> Result<()> {
        self.places.retain(|place| place.session != session);
        self.turns.forget(session);
        self.waiting.retain(|doc| doc.session != session);
        self.bytes = self.waiting.iter().map(|doc| doc.text.len()).sum();
        let mut range = connection.prepare_cached("DELETE FROM find WHERE rowid BETWEEN ?1 AND ?2")?;
        for id in rows {
            range.execute((id << PLACE_BITS, ((id + 1) << PLACE_BITS) - 1))?;
        }
        range.execute((-session, -session)).map(|_| ())
    }

    /// Merges a part of the index, which drops deleted words from it.
    pub(crate) fn tidy(&self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached("INSERT INTO find (find, rank) VALUES ('merge', ?1)")?
            .execute([TIDY_PAGES])
            .map(|_| ())
    }
}

/// Says that all rows of the log up to `last_log` are in the index.
pub(crate) fn mark_indexed(connection: &Connection, last_log: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('indexed', ?1)")?
        .execute([last_log])
        .map(|_| ())
}

/// The last row of the log that is in the indexes, with all before it.
pub(crate) fn indexed(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = 'indexed'")?;
    let found = statement.query_row((), |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

/// Reads rows of the log: their words and places are written, their turns wait. A damaged one is left out:
/// reading it says so, and a rebuild too.
fn catch_up(connection: &Connection, indexed: i64, last: i64, turns: &WaitingTurns) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT l.id, l.session, l.first, l.last, l.sum, l.body, s.id, s.tenant, s.owner FROM log l \
         JOIN session s ON s.no = l.session WHERE l.id > ?1 AND l.id <= ?2 ORDER BY l.id",
    )?;
    let mut rows = statement.query((indexed, last))?;
    while let Some(row) = rows.next()? {
        let (log, no): (i64, i64) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(5)?.as_bytes()?.to_vec();
        let (first, last) = (number(row.get(2)?), number(row.get(3)?));
        Place { session: no, last: int(last), log }.insert(connection)?;
        let line = LogRow { first, last, sum: row.get(4)?, body };
        let id = session_id(row.get(6)?);
        let Ok(records) = line.records(id, Epoch(1)) else { continue };
        let derived = Derived::of(records.iter().filter_map(|record| record.envelope().ok()));
        let docs = derived.texts.iter().filter_map(|(seq, text)| Doc::message(no, log, seq.0 - first, text));
        docs.chain(derived.title.map(|title| Doc::title(no, &title)))
            .try_for_each(|doc| doc.insert(connection))?;
        let (tenant, owner) = (row.get_ref(7)?.as_str()?.parse(), row.get_ref(8)?.as_str()?.parse());
        if let (Ok(tenant), Ok(owner)) = (tenant, owner) {
            turns.push(Session { no, id, tenant: &tenant, owner: &owner }, &derived.turns);
        }
    }
    Ok(())
}

/// A person's query in the index's language: every word quoted, so that nothing in it is syntax. `None` when
/// there is no word in it.
pub(crate) fn expression(query: &str) -> Option<String> {
    let terms = terms(query);
    let phrases = terms.iter().map(|term| {
        let star = if term.prefix { "*" } else { "" };
        format!("\"{}\"{star}", term.words.join(" "))
    });
    (!terms.is_empty()).then(|| phrases.collect::<Vec<_>>().join(" AND "))
}

/// Messages of a tenant that hold all words, newest first.
pub(crate) fn search(
    connection: &Connection,
    tenant: &Tenant,
    expression: &str,
    limit: usize,
) -> Result<Vec<SearchHit>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.id, l.first + (f.rowid & 1048575) FROM find f CROSS JOIN log l ON l.id = f.rowid >> 20 \
         CROSS JOIN session s ON s.no = l.session \
         WHERE f.find MATCH ?1 AND f.rowid > 0 AND s.tenant = ?2 ORDER BY f.rowid DESC LIMIT ?3",
    )?;
    let hits = statement.query_map((expression, tenant.as_str(), int(limit as u64)), |row| {
        Ok(SearchHit { session: session_id(row.get(0)?), seq: Seq(number(row.get(1)?)) })
    })?;
    hits.collect()
}
