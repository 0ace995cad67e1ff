//! Builds everything derived from the logs anew, in one transaction.
//!
//! A session's tenant, door and fence, and its idempotency rows, are no part of its log and are kept.

use moongate_core::{CheckReport, SessionRow, Summary};
use moongate_protocol::Tenant;
use rusqlite::{Connection, Result, Transaction, TransactionBehavior, named_params};

use crate::{
    apply::{blob, insert_calls},
    asks::{change_asks, forget_asks},
    find::{Doc, mark_indexed},
    prepare::{is_busy, shared, state_number},
    waiting_turns::{Session, WaitingTurns},
    walk::{Step, Walked, sessions, walk},
};

/// Where the rows of the log are, by what they say themselves. Of two that say the same the newer counts.
const PLACES: &str = "DELETE FROM place; \
     INSERT OR REPLACE INTO place (session, last, log) SELECT session, last, id FROM log ORDER BY id; \
     UPDATE session SET tail = (SELECT coalesce(max(p.log), 0) FROM place p WHERE p.session = session.no)";

/// Rebuilds; a session whose log is damaged keeps its row, its usage and what it asks, and is in the report.
pub(crate) fn rebuild(connection: &Connection) -> Result<CheckReport> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut report = CheckReport::default();
    transaction.execute("INSERT INTO find (find) VALUES ('delete-all')", ())?;
    transaction.execute_batch(PLACES)?;
    let last: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM log", (), |row| row.get(0))?;
    mark_indexed(&transaction, last)?;
    for session in sessions(&transaction)? {
        report.sessions += 1;
        report.events += session.head;
        // A first walk without writing, so that a log damaged at its end does not leave half of it derived.
        match walk(&transaction, session, |_| Ok(()))? {
            Ok(summary) => derive(&transaction, session, &summary)?,
            Err(fault) => {
                // What stands before the fault can still be found.
                let _ = walk(&transaction, session, |step| index(&transaction, session, &step))?;
                report.faults.push((Some(session.id), fault));
            }
        }
    }
    transaction.commit()?;
    Ok(report)
}

fn derive(connection: &Connection, session: Walked, summary: &Summary) -> Result<()> {
    let (tenant, door): (String, String) = connection
        .prepare_cached("SELECT tenant, door FROM session WHERE no = ?1")?
        .query_row([session.no], |row| Ok((row.get(0)?, row.get(1)?)))?;
    forget_asks(connection, session.no)?;
    connection.prepare_cached("DELETE FROM turn WHERE session = ?1")?.execute([session.no])?;
    connection
        .prepare_cached("DELETE FROM usage WHERE tenant = ?1 AND session = ?2")?
        .execute((&tenant, blob(session.id)))?;
    let tenant: Tenant = tenant.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
    let turns = WaitingTurns::default();
    let walked = walk(connection, session, |step| {
        let row =
            SessionRow { tenant: tenant.clone(), door: shared(&door), view: step.summary.view().clone() };
        insert_calls(connection, &row, &step.derived)?;
        change_asks(connection, session.no, &step.derived)?;
        let SessionRow { tenant, view, .. } = &row;
        let whose = Session { no: session.no, id: session.id, tenant, owner: &view.owner };
        turns.push(whose, &step.derived.turns);
        index(connection, session, &step)
    })?;
    turns.write(connection)?;
    debug_assert!(walked.is_ok(), "the first walk found nothing wrong");
    update_row(
        connection,
        session.no,
        &SessionRow { tenant, door: shared(&door), view: summary.view().clone() },
    )
}

fn index(connection: &Connection, session: Walked, step: &Step<'_>) -> Result<()> {
    for (seq, text) in &step.derived.texts {
        if let Some(doc) = Doc::message(session.no, step.log, seq.0 - step.first, text) {
            doc.insert(connection)?;
        }
    }
    step.derived.title.as_ref().map_or(Ok(()), |title| Doc::title(session.no, title).insert(connection))
}

fn update_row(connection: &Connection, no: i64, row: &SessionRow) -> Result<()> {
    let view = &row.view;
    let json = serde_json::to_string(view).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let mut statement = connection.prepare_cached(
        "UPDATE session SET alias = :alias, owner = :owner, namespace = :namespace, agent = :agent, \
         state = :state, archived = :archived, busy = :busy, updated = :updated, view = :view WHERE no = :no",
    )?;
    statement.execute(named_params! {
        ":alias": view.alias.as_ref().map(moongate_protocol::Alias::as_str),
        ":owner": view.owner.as_str(),
        ":namespace": view.namespace.as_str(),
        ":agent": view.agent.as_str(),
        ":state": state_number(view.state),
        ":archived": view.archived,
        ":busy": is_busy(row),
        ":updated": view.updated_at.as_millis(),
        ":view": json,
        ":no": no,
    })?;
    Ok(())
}
