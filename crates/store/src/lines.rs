//! A row of the log: the JSON lines of one append, and the sum that says they are as they were written.

use bytes::Bytes;
use moongate_core::{Record, StoreError};
use moongate_protocol::{Epoch, Position, Seq, SessionId};
use std::sync::Arc;

/// Every event's text begins with its epoch.
const EPOCH_FIELD: &[u8] = b"{\"epoch\":\"";

/// One append as it is kept.
#[derive(Debug)]
pub(crate) struct LogRow {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) sum: u32,
    pub(crate) body: Vec<u8>,
}

/// The texts of an append's events, one a line; `None` when one of them is not one line of UTF-8.
pub(crate) fn join(records: &[Arc<Record>]) -> Option<String> {
    let bytes: usize = records.iter().map(|record| record.json().len() + 1).sum();
    let mut body = String::with_capacity(bytes);
    for (i, record) in records.iter().enumerate() {
        if i > 0 {
            body.push('\n');
        }
        let line = std::str::from_utf8(record.json()).ok()?;
        if line.contains('\n') || !line.as_bytes().starts_with(EPOCH_FIELD) {
            return None;
        }
        body.push_str(line);
    }
    Some(body)
}

/// The sum of an append: of its place, so that a row in a wrong place is found too, and of its text.
pub(crate) fn sum(session: SessionId, first: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&session.bits().to_be_bytes());
    hasher.update(&first.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

impl LogRow {
    /// The row's events as clients see them: under the session's epoch of today.
    ///
    /// The row keeps the epoch it was written under. After a restore the session's is another, and a client
    /// must see one.
    pub(crate) fn records(self, session: SessionId, epoch: Epoch) -> Result<Vec<Arc<Record>>, StoreError> {
        let damaged = |why: &str| {
            Err(StoreError::Damaged(format!("{session}, events {} to {}: {why}", self.first, self.last)))
        };
        if sum(session, self.first, &self.body) != self.sum {
            return damaged("their checksum does not match");
        }
        let count = self.last.saturating_sub(self.first).saturating_add(1);
        let prefix = format!("{{\"epoch\":\"{epoch}\"");
        let body = Bytes::from(self.body);
        let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(body.len()));
        for (seq, line) in (self.first..).zip(body.split(|byte| *byte == b'\n')) {
            let Some(json) = under_epoch(&body, line, prefix.as_bytes()) else {
                return Err(StoreError::Damaged(format!("{session}, event {seq}: it has no epoch")));
            };
            records.push(Arc::new(Record::stored(Position { epoch, seq: Seq(seq) }, json)));
        }
        if records.len() as u64 == count {
            Ok(records)
        } else {
            Err(StoreError::Damaged(format!("{session}, event {}: its row is not {count} lines", self.first)))
        }
    }
}

/// The line itself where it has the right epoch already, or a copy that has.
fn under_epoch(body: &Bytes, line: &[u8], prefix: &[u8]) -> Option<Bytes> {
    if line.starts_with(prefix) {
        return Some(body.slice_ref(line));
    }
    let rest = line.strip_prefix(EPOCH_FIELD)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let rest = &rest[end + 1..];
    let mut patched = Vec::with_capacity(prefix.len() + rest.len());
    patched.extend_from_slice(prefix);
    patched.extend_from_slice(rest);
    Some(patched.into())
}
