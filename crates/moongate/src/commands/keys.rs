//! `moongate keys`.

use std::io;

use http::Method;
use moongate_core::{Clock as _, SystemClock};
use serde::Deserialize;

use super::{confirm, print_json, print_line};
use crate::{
    cli::{KeyArgs, KeysCommand, Remote},
    client::{Client, KeyView, NewKey, Page, connect},
    context::Context,
    exit::Outcome,
    terminal::Table,
    times::day,
};

/// Runs one of the key commands.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn keys(remote: &Remote, command: KeysCommand, context: &Context) -> Outcome {
    let client = connect(remote, &context.data()?).await?;
    match command {
        KeysCommand::Create(args) => create(&client, args).await,
        KeysCommand::List(print) => {
            let body = client.get_bytes("/keys").await?;
            if print.json {
                return print_json(&body);
            }
            let page: Page<KeyView> = serde_json::from_slice(&body)?;
            let mut table = Table::new(["ID", "LABEL", "SCOPES", "MADE", "ENDS"], 2);
            for key in page.items {
                let ends = match (key.revoked_at, key.expires_at) {
                    (Some(at), _) => format!("revoked {}", day(at)),
                    (None, Some(at)) => day(at),
                    (None, None) => "never".to_owned(),
                };
                table.row([key.id.to_string(), key.label, key.scopes.join(" "), day(key.created_at), ends]);
            }
            table.print(&mut io::stdout().lock(), context.terminal, "no keys besides admin.key")
        }
        KeysCommand::Revoke { id } => Ok(client.delete(&format!("/keys/{id}")).await?),
    }
}

/// A key's secret, shown once.
#[derive(Deserialize)]
struct Made {
    #[serde(alias = "secret")]
    key: String,
}

async fn create(client: &Client, args: KeyArgs) -> Outcome {
    let expires_at = SystemClock.now().plus(args.expires.0);
    let key = NewKey {
        label: args.label,
        scopes: args.scope,
        agents: args.agent,
        namespaces: args.namespace,
        networks: args.network,
        expires_at,
    };
    let body = client.send_bytes(Method::POST, "/keys", &key).await?;
    if args.print.json {
        return print_json(&body);
    }
    let made: Made = serde_json::from_slice(&body)?;
    print_line(&made.key)?;
    confirm("Keep it now: it is not shown again.")
}
