//! What the event stream said before: read from the turns it tells of, newest or oldest first.

use std::{collections::BTreeMap, time::Duration};

use moongate_core::{StoreError, TurnQuery, TurnRow, limits::READ_BATCH};
use moongate_protocol::{Seq, Timestamp};

use super::{
    Construct,
    feed::{Cursor, Feed, Named, News},
    names::Names,
};
use crate::{caller::Authenticated, door::shared::Door};

/// Turns read from the list at once.
const PAGE: usize = 256;
/// Longest time between a turn's first and last event that is looked for: it may run and wait for people.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// Events that were told, by where they stand.
pub(super) type Events = BTreeMap<Cursor, News>;

/// The newest events there are, `limit` at most.
pub(super) async fn newest(
    door: &Door<Construct>,
    caller: &Authenticated,
    limit: usize,
) -> Result<Events, StoreError> {
    let (mut names, mut found) = (Names::default(), Events::new());
    let mut offset = 0;
    loop {
        let rows = page(door, caller, offset).await?;
        for row in &rows {
            // Older than this nothing is shown any more.
            let shown = oldest(&found).filter(|_| found.len() >= limit);
            if shown.is_some_and(|shown| row.started_at.plus(LONGEST) < shown) {
                return Ok(found);
            }
            if shown.is_some_and(|shown| ended_before(row, shown)) {
                continue;
            }
            if let Some(named) = names.of(door, caller, row.session).await {
                found.extend(tell(door, row, &named).await?);
            }
            while found.len() > limit {
                found.pop_first();
            }
        }
        offset += rows.len();
        if rows.len() < PAGE {
            return Ok(found);
        }
    }
}

/// The first events after `after`, `limit` at most.
pub(super) async fn after(
    door: &Door<Construct>,
    caller: &Authenticated,
    after: Cursor,
    limit: usize,
) -> Result<Events, StoreError> {
    let (mut rows, mut offset) = (Vec::new(), 0);
    loop {
        let page = page(door, caller, offset).await?;
        let is_last =
            page.len() < PAGE || page.last().is_some_and(|row| row.started_at.plus(LONGEST) < after.at);
        offset += page.len();
        rows.extend(page.into_iter().filter(|row| !ended_before(row, after.at)));
        if is_last {
            break;
        }
    }
    let (mut names, mut found) = (Names::default(), Events::new());
    for row in rows.iter().rev() {
        let newest = found.last_key_value().map(|(cursor, _): (&Cursor, _)| cursor.at);
        if found.len() >= limit && newest.is_some_and(|newest| newest < row.started_at) {
            break;
        }
        if let Some(named) = names.of(door, caller, row.session).await {
            let told = tell(door, row, &named).await?;
            found.extend(told.into_iter().filter(|(cursor, _)| *cursor > after));
        }
        while found.len() > limit {
            found.pop_last();
        }
    }
    Ok(found)
}

async fn page(
    door: &Door<Construct>,
    caller: &Authenticated,
    offset: usize,
) -> Result<Vec<TurnRow>, StoreError> {
    let owner = Some(caller.principal().clone());
    let query = TurnQuery { owner, offset, limit: PAGE, ..TurnQuery::default() };
    door.app().gateway().store().turns(caller.tenant(), &query).await
}

fn oldest(found: &Events) -> Option<Timestamp> {
    found.first_key_value().map(|(cursor, _)| cursor.at)
}

fn ended_before(row: &TurnRow, at: Timestamp) -> bool {
    row.ended.is_some_and(|(ended, _)| ended < at)
}

/// What the stream says of a turn.
async fn tell(
    door: &Door<Construct>,
    row: &TurnRow,
    named: &Named<'_>,
) -> Result<Vec<(Cursor, News)>, StoreError> {
    let (mut feed, mut told) = (Feed::default(), Vec::new());
    let mut seq = Seq(row.seq.0.saturating_sub(1));
    loop {
        let records = match door.app().gateway().store().read(row.session, seq, READ_BATCH).await {
            // Deleted meanwhile.
            Err(StoreError::NotFound) => return Ok(told),
            read => read?,
        };
        let Some(last) = records.last() else { return Ok(told) };
        seq = last.position().seq;
        for record in &records {
            told.extend(feed.take(record, named));
            let ends = |record: &moongate_core::Record| {
                let envelope = record.envelope().ok();
                envelope.is_some_and(|e| e.event.turn() == Some(row.turn) && e.event.ends_turn().is_some())
            };
            if ends(record) {
                return Ok(told);
            }
        }
    }
}
