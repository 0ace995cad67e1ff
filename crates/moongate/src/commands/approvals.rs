//! `moongate approvals`.

use std::io;

use http::Method;
use moongate_protocol::{ApprovalId, Decision};

use super::{print_json, print_line};
use crate::{
    cli::{ApprovalsCommand, Remote},
    client::{Client, Decide, Decided, Page, Pending, connect},
    context::Context,
    exit::{Failure, Outcome},
    terminal::Table,
    times::day,
};

/// Runs one of the approval commands.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn approvals(remote: &Remote, command: ApprovalsCommand, context: &Context) -> Outcome {
    let client = connect(remote, &context.data()?).await?;
    match command {
        ApprovalsCommand::List(print) => {
            let body = client.get_bytes("/approvals?state=open").await?;
            if print.json {
                return print_json(&body);
            }
            let page: Page<Pending> = serde_json::from_slice(&body)?;
            let mut table = Table::new(["ID", "SESSION", "WHAT", "WHY", "UNTIL"], 2);
            for pending in page.items {
                let until = day(pending.expires_at);
                let (id, session) = (pending.id.to_string(), pending.session.to_string());
                table.row([id, session, pending.plan, pending.reason, until]);
            }
            table.print(&mut io::stdout().lock(), context.terminal, "nothing waits for a decision")
        }
        ApprovalsCommand::Approve { id, reason } => decide(&client, id, Decision::Approve, reason).await,
        ApprovalsCommand::Deny { id, reason } => decide(&client, id, Decision::Deny, reason).await,
    }
}

async fn decide(client: &Client, id: ApprovalId, decision: Decision, reason: Option<String>) -> Outcome {
    let decide = Decide { decision, reason };
    let decided: Decided = client.send(Method::POST, &format!("/approvals/{id}"), &decide).await?;
    let word = match decided.decision {
        Decision::Approve => "approved",
        Decision::Deny => "denied",
    };
    if !decided.already {
        return print_line(word);
    }
    let message = format!("{} decided before: {word}", decided.by);
    if decided.decision == decision { print_line(&message) } else { Err(Failure::Failed(message)) }
}
