//! What the caller's models cost, as the store has summed it.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use moongate_core::{Caller, Scope, UsageGroup, UsageQuery, UsageRow};
use moongate_protocol::{MicroUsd, Timestamp};
use serde::Serialize;

use super::{
    Construct,
    handshake::{form, parse_id},
    reply::{Reply, Trouble, ok},
    sessions::require,
};
use crate::{caller::Authenticated, door::shared::Door};

/// What a model cost.
#[derive(Default, Serialize)]
struct ModelCost {
    model: String,
    cost_usd: f64,
    total_tokens: u64,
    request_count: u64,
}

#[derive(Default, Serialize)]
struct Cost {
    session_cost_usd: f64,
    daily_cost_usd: f64,
    monthly_cost_usd: f64,
    total_tokens: u64,
    request_count: u64,
    by_model: BTreeMap<String, ModelCost>,
    unpriced_requests: u64,
}

#[derive(Serialize)]
struct CostBody {
    cost: Cost,
}

pub(super) async fn cost(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    RawQuery(query): RawQuery,
) -> Reply {
    require(&caller, Scope::UsageRead)?;
    let now = door.now();
    let up = i64::try_from(door.began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let began = Timestamp::from_millis(now.as_millis().saturating_sub(up));
    let asked = form(&query.unwrap_or_default()).find(|(name, _)| name == "session_id");
    let session = match asked {
        None => door.calls(&caller, UsageQuery { from: began, ..since_ever() }).await?,
        Some((_, id)) => match door.find(&caller, &parse_id(&id)?).await? {
            Some(handle) => {
                let (session, from) = (Some(handle.id()), handle.view().await?.created_at);
                door.calls(&caller, UsageQuery { session, from, ..since_ever() }).await?
            }
            None => Vec::new(),
        },
    };
    let day = door.calls(&caller, UsageQuery { from: start(&now.day())?, ..since_ever() }).await?;
    let first = start(&format!("{}-01", &now.day()[..7]))?;
    let month = door.calls(&caller, UsageQuery { from: first, ..since_ever() }).await?;
    let mut cost = Cost {
        session_cost_usd: sum(&session),
        daily_cost_usd: sum(&day),
        monthly_cost_usd: sum(&month),
        ..Cost::default()
    };
    for row in month {
        let total_tokens = row.tokens.input.saturating_add(row.tokens.output);
        cost.total_tokens += total_tokens;
        cost.request_count += row.calls;
        cost.unpriced_requests += row.unpriced_calls;
        let (model, cost_usd, request_count) = (row.group, usd(row.cost), row.calls);
        cost.by_model.insert(model.clone(), ModelCost { model, cost_usd, total_tokens, request_count });
    }
    ok(&CostBody { cost })
}

fn since_ever() -> UsageQuery {
    UsageQuery::between(UsageGroup::Model, Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX))
}

impl Door<Construct> {
    /// Sums of the calls the caller set off.
    async fn calls(&self, caller: &Caller, query: UsageQuery) -> Reply<Vec<UsageRow>> {
        let query = UsageQuery { principal: Some(caller.principal().clone()), ..query };
        Ok(self.app().gateway().store().usage(caller.tenant(), &query).await?)
    }
}

fn sum(rows: &[UsageRow]) -> f64 {
    usd(MicroUsd(rows.iter().map(|row| row.cost.0).sum()))
}

#[expect(clippy::cast_precision_loss, reason = "an amount of money far below 2^53 micro-dollars")]
fn usd(cost: MicroUsd) -> f64 {
    cost.0 as f64 / 1_000_000.0
}

fn start(day: &str) -> Reply<Timestamp> {
    format!("{day}T00:00:00Z").parse().map_err(|_| Trouble::invalid("The clock is wrong"))
}
