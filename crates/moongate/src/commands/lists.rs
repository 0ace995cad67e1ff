//! `moongate agents`, `models` and `usage`.

use std::io;

use super::print_json;
use crate::{
    cli::{ListArgs, UsageArgs},
    client::{AgentView, ModelView, Page, UsageView, connect},
    context::Context,
    exit::Outcome,
    terminal::Table,
};

/// Lists the agents.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn agents(args: &ListArgs, context: &Context) -> Outcome {
    let client = connect(&args.remote, &context.data()?).await?;
    let body = client.get_bytes("/agents").await?;
    if args.print.json {
        return print_json(&body);
    }
    let page: Page<AgentView> = serde_json::from_slice(&body)?;
    let mut table = Table::new(["AGENT", "MODEL", "FALLBACKS", ""], 2);
    for agent in page.items {
        let fallbacks = agent.fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let note = if agent.default { "default" } else { "" };
        table.row([agent.name.to_string(), agent.model.to_string(), fallbacks, note.to_owned()]);
    }
    table.print(&mut io::stdout().lock(), context.terminal, "no agents")
}

/// Lists the models.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn models(args: &ListArgs, context: &Context) -> Outcome {
    let client = connect(&args.remote, &context.data()?).await?;
    let body = client.get_bytes("/models").await?;
    if args.print.json {
        return print_json(&body);
    }
    let page: Page<ModelView> = serde_json::from_slice(&body)?;
    let mut table = Table::new(["MODEL", "WINDOW", "IN $/M", "OUT $/M"], 0);
    for model in page.items {
        let window = model.context_window.map_or_else(|| "?".to_owned(), |tokens| tokens.to_string());
        let (input, output) = model.price.map_or_else(
            || ("?".to_owned(), "?".to_owned()),
            |price| (dollars(price.input), dollars(price.output)),
        );
        table.row([model.name.to_string(), window, input, output]);
    }
    table.print(&mut io::stdout().lock(), context.terminal, "no models")
}

/// What was used and what it cost.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn usage(args: &UsageArgs, context: &Context) -> Outcome {
    let client = connect(&args.remote, &context.data()?).await?;
    let body = client.get_bytes(&format!("/usage?group={}", args.group)).await?;
    if args.print.json {
        return print_json(&body);
    }
    let page: Page<UsageView> = serde_json::from_slice(&body)?;
    let mut table = Table::new(["", "CALLS", "IN", "CACHED", "OUT", "COST"], 0);
    for row in page.items {
        // A sum without the calls whose price is unknown would be too small.
        let unpriced = if row.unpriced_calls > 0 {
            format!(" + {} unpriced", row.unpriced_calls)
        } else {
            String::new()
        };
        let cost = row.cost_usd.map_or_else(|| "?".to_owned(), |usd| format!("${usd:.4}"));
        table.row([
            row.group,
            row.calls.to_string(),
            row.tokens.input.to_string(),
            row.tokens.cache_read.to_string(),
            row.tokens.output.to_string(),
            format!("{cost}{unpriced}"),
        ]);
    }
    table.print(&mut io::stdout().lock(), context.terminal, "nothing was used yet")
}

/// Millionths of a dollar.
fn dollars(micro: u64) -> String {
    format!("{}.{:02}", micro / 1_000_000, micro % 1_000_000 / 10_000)
}
