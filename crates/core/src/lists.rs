//! Lists by page number, over everything a caller may see.

use moongate_protocol::{SessionView, TurnId};

use crate::{
    Caller, Gateway, ListQuery, Refusal, SessionHandle, SessionRow, Totals, TurnCounts, TurnQuery, TurnRow,
    gateway::require_read,
};

/// Rows looked at in one step where a key is narrowed.
const STEP: usize = 256;

impl Gateway {
    /// What has happened since the start.
    pub fn totals(&self) -> &Totals {
        &self.shared.activity.totals
    }

    /// A page of the sessions the caller may see, newest activity first, and how many there are in all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn page(
        &self,
        caller: &Caller,
        mut query: ListQuery,
    ) -> Result<(Vec<SessionRow>, u64), Refusal> {
        require_read(caller)?;
        if !caller.sees_all_owners() {
            query.owner = Some(caller.principal().clone());
        }
        if !caller.is_narrowed() {
            let rows = self.store().list(caller.tenant(), &query).await?;
            return Ok((rows, self.store().count(caller.tenant(), &query).await?));
        }
        let visible = |view: &SessionView| caller.may_enter(&view.namespace) && caller.may_use(&view.agent);
        let (mut found, mut total) = (Vec::new(), 0);
        let mut step = ListQuery { offset: 0, limit: STEP, ..query.clone() };
        loop {
            let rows = self.store().list(caller.tenant(), &step).await?;
            let is_last = rows.len() < STEP;
            step.after = rows.last().map(|row| (row.view.updated_at, row.view.id));
            for row in rows.into_iter().filter(|row| visible(&row.view)) {
                if total >= query.offset as u64 && found.len() < query.limit {
                    found.push(row);
                }
                total += 1;
            }
            if is_last {
                return Ok((found, total));
            }
        }
    }

    /// A page of the turns of all sessions the caller may see, newest first, and how many there are in all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn turns(
        &self,
        caller: &Caller,
        mut query: TurnQuery,
    ) -> Result<(Vec<TurnRow>, TurnCounts), Refusal> {
        require_read(caller)?;
        if !caller.sees_all_owners() {
            query.owner = Some(caller.principal().clone());
        }
        if !caller.is_narrowed() {
            let rows = self.store().turns(caller.tenant(), &query).await?;
            return Ok((rows, self.store().turn_counts(caller.tenant(), &query).await?));
        }
        let (mut found, mut counts) = (Vec::new(), TurnCounts::default());
        let mut step = TurnQuery { offset: 0, limit: STEP, ..query.clone() };
        loop {
            let rows = self.store().turns(caller.tenant(), &step).await?;
            let is_last = rows.len() < STEP;
            step.offset += rows.len();
            for row in rows {
                if self.session(caller, row.session).await.is_err() {
                    continue;
                }
                if counts.all() >= query.offset as u64 && found.len() < query.limit {
                    found.push(row.clone());
                }
                counts.add(row.ended.map(|(_, ending)| ending), 1);
            }
            if is_last {
                return Ok((found, counts));
            }
        }
    }

    /// A turn of a session the caller may see, and the session.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub async fn turn(&self, caller: &Caller, turn: TurnId) -> Result<(TurnRow, SessionHandle), Refusal> {
        require_read(caller)?;
        let row = self.store().turn(caller.tenant(), turn).await?;
        let row = row.ok_or_else(|| Refusal::not_found("turn"))?;
        let session = self.session(caller, row.session).await.map_err(|_| Refusal::not_found("turn"))?;
        Ok((row, session))
    }
}
