//! Sums of what was billed.

use moongate_core::{Spent, SpentRow, UsageGroup, UsageQuery, UsageRow};
use moongate_protocol::{MicroUsd, Principal, Tenant, Timestamp, Tokens};
use rusqlite::{Connection, Result, Row, named_params};

use crate::{
    apply::{blob, session_id},
    prepare::number,
};

/// Sums of calls.
pub(crate) fn usage(connection: &Connection, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>> {
    let group = query.group;
    let column = match group {
        UsageGroup::Day => "strftime('%Y-%m-%d', at / 1000, 'unixepoch')",
        UsageGroup::Agent => "agent",
        UsageGroup::Model => "model",
        UsageGroup::Session => "session",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {column}, sum(input), sum(output), sum(reasoning), sum(cache_read), sum(cache_write), \
         count(*), coalesce(sum(cost), 0), count(*) - count(cost) FROM usage \
         WHERE tenant = :tenant AND at >= :from AND at < :to AND (:principal IS NULL OR principal = :principal) \
         AND (:session IS NULL OR session = :session) GROUP BY 1 ORDER BY 1"
    ))?;
    let parameters = named_params! {
        ":tenant": tenant.as_str(),
        ":from": query.from.as_millis(),
        ":to": query.to.as_millis(),
        ":principal": query.principal.as_ref().map(Principal::as_str),
        ":session": query.session.map(blob),
    };
    let rows = statement.query_map(parameters, |row| {
        let group = match group {
            UsageGroup::Session => session_id(row.get(0)?).to_string(),
            _ => row.get(0)?,
        };
        let tokens = Tokens {
            input: number(row.get(1)?),
            output: number(row.get(2)?),
            reasoning: number(row.get(3)?),
            cache_read: number(row.get(4)?),
            cache_write: number(row.get(5)?),
        };
        let (calls, unpriced_calls) = (number(row.get(6)?), number(row.get(8)?));
        Ok(UsageRow { group, tokens, calls, cost: MicroUsd(number(row.get(7)?)), unpriced_calls })
    })?;
    rows.collect()
}

/// Each tenant by a search of its own, so that only the calls since then are read.
const SPENT: &str = "WITH RECURSIVE walls (tenant) AS (SELECT min(tenant) FROM usage UNION ALL \
     SELECT (SELECT min(u.tenant) FROM usage u WHERE u.tenant > walls.tenant) FROM walls WHERE walls.tenant NOTNULL) \
     SELECT u.tenant, u.principal, u.namespace, u.agent, sum(u.input + u.output), count(*), coalesce(sum(u.cost), 0) \
     FROM walls CROSS JOIN usage u ON u.tenant = walls.tenant AND u.at >= ?1 GROUP BY 1, 2, 3, 4";

/// What was spent since a time, on every account.
pub(crate) fn spent(connection: &Connection, since: Timestamp) -> Result<Vec<SpentRow>> {
    let mut statement = connection.prepare_cached(SPENT)?;
    let rows = statement.query_map([since.as_millis()], |row| {
        Ok(SpentRow {
            tenant: name(row, 0)?,
            principal: maybe(row, 1)?,
            namespace: maybe(row, 2)?,
            agent: name(row, 3)?,
            spent: Spent {
                tokens: number(row.get(4)?),
                calls: number(row.get(5)?),
                cost: MicroUsd(number(row.get(6)?)),
            },
        })
    })?;
    rows.collect()
}

fn name<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> Result<T> {
    row.get::<_, String>(column)?.parse().map_err(|_| rusqlite::Error::InvalidQuery)
}

fn maybe<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> Result<Option<T>> {
    row.get::<_, Option<String>>(column)?.map_or(Ok(None), |_| name(row, column).map(Some))
}
