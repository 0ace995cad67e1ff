//! The list of sessions.

use moongate_core::{ListQuery, SessionRow, StoreError};
use moongate_protocol::Tenant;
use rusqlite::{Connection, ToSql};

use crate::{
    apply::blob,
    error::reading,
    find::expression,
    prepare::{int, number, state_number},
    read::{SESSION_COLUMNS, session_row},
};

/// The sessions whose title or one of whose messages the index finds.
const HOLDING: &str = "s.no IN (SELECT -rowid FROM find WHERE find MATCH :words AND rowid < 0 UNION ALL \
     SELECT l.session FROM find f CROSS JOIN log l ON l.id = f.rowid >> 20 \
     WHERE f.find MATCH :words AND f.rowid > 0)";

/// A tenant's sessions, newest activity first.
pub(crate) fn list(
    connection: &Connection,
    tenant: &Tenant,
    query: &ListQuery,
) -> Result<Vec<SessionRow>, StoreError> {
    let mut filter = filter(tenant, query);
    if let Some((updated, id)) = query.after {
        filter.add("(s.updated, s.id) < (:updated, :id)", ":updated", updated.as_millis());
        filter.values.push((":id", Box::new(blob(id))));
    }
    filter.values.push((":limit", Box::new(int(query.limit as u64))));
    filter.values.push((":offset", Box::new(int(query.offset as u64))));
    filter.run(connection)
}

/// How many sessions a list has in all.
pub(crate) fn count(connection: &Connection, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError> {
    filter(tenant, query).count(connection)
}

fn filter(tenant: &Tenant, query: &ListQuery) -> Filter {
    let mut filter = Filter::default();
    filter.add("s.tenant = :tenant", ":tenant", tenant.as_str().to_owned());
    if let Some(owner) = &query.owner {
        filter.add("s.owner = :owner", ":owner", owner.as_str().to_owned());
    }
    if let Some(state) = query.state {
        filter.add("s.state = :state", ":state", state_number(state));
    }
    if let Some(agent) = &query.agent {
        filter.add("s.agent = :agent", ":agent", agent.as_str().to_owned());
    }
    if let Some(namespace) = &query.namespace {
        // Beneath a namespace is what goes on with a colon; a semicolon is the character after it.
        let beneath = "(s.namespace = :namespace OR (s.namespace >= :namespace || ':' \
                       AND s.namespace < :namespace || ';'))";
        filter.add(beneath, ":namespace", namespace.as_str().to_owned());
    }
    if let Some(archived) = query.archived {
        filter.add("s.archived = :archived", ":archived", archived);
    }
    if let Some(door) = &query.door {
        filter.add("s.door = :door", ":door", door.to_string());
    }
    if let Some(words) = query.text.as_deref().and_then(expression) {
        filter.add(HOLDING, ":words", words);
    }
    filter
}

#[derive(Default)]
struct Filter {
    conditions: Vec<&'static str>,
    values: Vec<(&'static str, Box<dyn ToSql>)>,
}

impl Filter {
    fn add(&mut self, condition: &'static str, name: &'static str, value: impl ToSql + 'static) {
        self.conditions.push(condition);
        self.values.push((name, Box::new(value)));
    }

    fn values(&self) -> Vec<(&str, &dyn ToSql)> {
        self.values.iter().map(|(name, value)| (*name, value.as_ref())).collect()
    }

    fn count(&self, connection: &Connection) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM session s WHERE {}", self.conditions.join(" AND "));
        let counted = connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row(self.values().as_slice(), |row| row.get(0)));
        counted.map(number).map_err(|error| reading(&error))
    }

    fn run(&self, connection: &Connection) -> Result<Vec<SessionRow>, StoreError> {
        let conditions = self.conditions.join(" AND ");
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM session s WHERE {conditions} \
             ORDER BY s.updated DESC, s.id DESC LIMIT :limit OFFSET :offset"
        );
        let values = self.values();
        let mut statement = connection.prepare_cached(&sql).map_err(|error| reading(&error))?;
        let rows = statement
            .query_map(values.as_slice(), |row| Ok(session_row(row)))
            .map_err(|error| reading(&error))?;
        rows.map(|row| row.map_err(|error| reading(&error))?).collect()
    }
}
