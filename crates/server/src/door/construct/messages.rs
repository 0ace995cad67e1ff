//! A session's history.

use std::ops::ControlFlow;

use axum::extract::{Path, RawQuery, State};
use moongate_core::{FrameBody, Scope, SessionHandle, TurnQuery, UploadPlace, limits::QUEUE_INPUTS};
use moongate_protocol::{Seq, Tenant};
use serde::Serialize;

use super::{
    Construct, attach,
    handshake::{form, parse_id},
    reply::{Reply, Trouble, ok},
    rows::{Row, RowRole, Rows},
    sessions::{limit, require},
    uploads,
};
use crate::{caller::Authenticated, door::shared::Door};

/// Most rows that may be asked for by number.
const ROWS: usize = 1_000;
/// Turns read from the list at once.
const TURNS: usize = 256;

/// A file of a row.
#[derive(Serialize)]
struct Attachment {
    file_id: String,
    filename: String,
    size: u64,
    mime: String,
}

#[derive(Serialize)]
struct Message {
    #[serde(flatten)]
    row: Row,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
}

#[derive(Serialize)]
struct Messages {
    session_id: String,
    messages: Vec<Message>,
    session_persistence: bool,
}

pub(super) async fn messages(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let query = query.unwrap_or_default();
    let limit = limit(&query, ROWS)?;
    let before = form(&query).find(|(name, _)| name == "before").map(|(_, value)| value.parse::<u64>());
    let before = before.transpose().map_err(|_| Trouble::invalid("before is a seq"))?;
    let full = form(&query).any(|(name, value)| name == "detail" && value == "full");
    let id = door.canonical(&caller, parse_id(&id)?).await?;
    let (session_id, place) = (id.to_string(), uploads::place(&caller, &id)?);
    let Some(handle) = door.find(&caller, &id).await? else {
        return ok(&Messages { session_id, messages: Vec::new(), session_persistence: true });
    };
    let page = Page { full, limit, before };
    let (rows, last) = page.of(&door, caller.tenant(), &handle).await?;
    door.saw(handle.id(), last);
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        let attachments = attachments(&door, &place, &row).await?;
        messages.push(Message { row, attachments });
    }
    ok(&Messages { session_id, messages, session_persistence: true })
}

/// Which rows are asked for.
struct Page {
    /// With the steps and tools of each turn.
    full: bool,
    /// The newest so many.
    limit: Option<usize>,
    /// Of those before this event.
    before: Option<u64>,
}

impl Page {
    /// The rows, and the last event that was read for them: whoever gets them has seen the answers up to there.
    async fn of(
        &self,
        door: &Door<Construct>,
        tenant: &Tenant,
        handle: &SessionHandle,
    ) -> Reply<(Vec<Row>, u64)> {
        let (mut rows, mut last) = (Rows::new(self.full), 0);
        let is_before = |seq: u64| self.before.is_none_or(|before| seq < before);
        attach::read(handle, self.start(door, tenant, handle).await?, |body| {
            let FrameBody::Event(record) = body else { return ControlFlow::Continue(()) };
            let Ok(envelope) = record.envelope() else { return ControlFlow::Continue(()) };
            last = envelope.seq.0;
            rows.take(envelope);
            // How a turn ends says what became of its rows.
            match !is_before(last) && envelope.event.ends_turn().is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
        .await?;
        let mut rows = rows.finish();
        // Without details there are only the two roles the client draws.
        debug_assert!(self.full || rows.iter().all(|row| row.role != RowRole::Tool));
        rows.retain(|row| is_before(row.seq));
        let skipped = self.limit.map_or(0, |limit| rows.len().saturating_sub(limit));
        Ok((rows.split_off(skipped), last))
    }

    /// The event after which the log has to be read: each turn has a row at least, and what it was asked was said
    /// only so many turns before.
    async fn start(&self, door: &Door<Construct>, tenant: &Tenant, handle: &SessionHandle) -> Reply<Seq> {
        let Some(limit) = self.limit else { return Ok(Seq::ZERO) };
        let mut wanted = limit + QUEUE_INPUTS + 1;
        let mut query = TurnQuery { session: Some(handle.id()), limit: TURNS, ..TurnQuery::default() };
        loop {
            let turns = door.app().gateway().store().turns(tenant, &query).await?;
            for turn in &turns {
                wanted -= usize::from(self.before.is_none_or(|before| turn.seq.0 < before));
                if wanted == 0 {
                    return Ok(Seq(turn.seq.0.saturating_sub(1)));
                }
            }
            if turns.len() < TURNS {
                return Ok(Seq::ZERO);
            }
            query.offset += turns.len();
        }
    }
}

async fn attachments(door: &Door<Construct>, place: &UploadPlace, row: &Row) -> Reply<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for id in &row.files {
        if let Some(upload) = door.upload(place, id).await? {
            let (filename, size, mime) = (upload.name, upload.bytes, upload.media_type);
            attachments.push(Attachment { file_id: id.clone(), filename, size, mime });
        }
    }
    Ok(attachments)
}
