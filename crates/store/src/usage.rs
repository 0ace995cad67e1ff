//! Sums of what was billed.

use moongate_core::{UsageGroup, UsageRow};
use moongate_protocol::{MicroUsd, Tenant, Timestamp, Tokens};
use rusqlite::{Connection, Result};

use crate::{apply::session_id, prepare::number};

/// Sums of the calls between two times, the second excluded.
pub(crate) fn usage(
    connection: &Connection,
    tenant: &Tenant,
    group: UsageGroup,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<UsageRow>> {
    let column = match group {
        UsageGroup::Day => "strftime('%Y-%m-%d', at / 1000, 'unixepoch')",
        UsageGroup::Agent => "agent",
        UsageGroup::Model => "model",
        UsageGroup::Session => "session",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {column}, sum(input), sum(output), sum(reasoning), sum(cache_read), sum(cache_write), \
         count(*), coalesce(sum(cost), 0), count(*) - count(cost) FROM usage \
         WHERE tenant = ?1 AND at >= ?2 AND at < ?3 GROUP BY 1 ORDER BY 1"
    ))?;
    let rows = statement.query_map((tenant.as_str(), from.as_millis(), to.as_millis()), |row| {
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
