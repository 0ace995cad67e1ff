//! `moongate sessions`.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use http::Method;
use moongate_protocol::SessionId;

use super::{confirm, escape, print_json, print_line, transcript};
use crate::{
    cli::{Print, Remote, SessionsCommand},
    client::{Client, Fork, Page, Session, SessionPatch, connect},
    context::Context,
    exit::{Failure, Outcome},
    terminal::Table,
    times::ago,
};

/// Most sessions a server lists at once.
const PAGE: usize = 200;
/// Longest log that is taken back.
const MAX_IMPORT_BYTES: u64 = 32 * 1024 * 1024;

/// Runs one of the session commands.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn sessions(remote: &Remote, command: SessionsCommand, context: &Context) -> Outcome {
    let client = connect(remote, &context.data()?).await?;
    match command {
        SessionsCommand::List { limit, agent, namespace, state, archived, print } => {
            let mut query = String::new();
            let mut add = |key: &str, value: &str| query.push_str(&format!("&{key}={}", escape(value)));
            agent.iter().for_each(|agent| add("agent", agent.as_str()));
            namespace.iter().for_each(|namespace| add("namespace", namespace.as_str()));
            state.iter().for_each(|state| add("state", state));
            if archived {
                add("archived", "true");
            }
            list(&client, &query, limit as usize, print, context).await
        }
        SessionsCommand::Search { words, print } => {
            let query = format!("&q={}", escape(&words.join(" ")));
            list(&client, &query, PAGE, print, context).await
        }
        SessionsCommand::Show { id, print } => show(&client, id, print, context).await,
        SessionsCommand::Rename { id, title } => {
            let patch = SessionPatch { title: Some(title) };
            client.send_bytes(Method::PATCH, &format!("/sessions/{id}"), &patch).await?;
            Ok(())
        }
        SessionsCommand::Delete { ids, yes } => delete(&client, &ids, yes).await,
        SessionsCommand::Fork { id, at, title } => {
            let path = format!("/sessions/{id}/fork");
            let made: Session = client.send(Method::POST, &path, &Fork { at, title }).await?;
            print_line(&made.id.to_string())
        }
        SessionsCommand::Export { id, output } => export(&client, id, output.as_deref()).await,
        SessionsCommand::Import { file } => import(&client, &file).await,
    }
}

async fn list(client: &Client, query: &str, limit: usize, print: Print, context: &Context) -> Outcome {
    if print.json {
        let path = format!("/sessions?limit={}{query}", limit.min(PAGE));
        return print_json(&client.get_bytes(&path).await?);
    }
    let mut table = Table::new(["ID", "TITLE", "AGENT", "STATE", "LAST"], 1);
    let (mut cursor, mut left) = (String::new(), limit);
    loop {
        let path = format!("/sessions?limit={}{query}{cursor}", left.min(PAGE));
        let page: Page<Session> = client.get(&path).await?;
        left = left.saturating_sub(page.items.len());
        for session in page.items {
            table.row([
                session.id.to_string(),
                session.title.unwrap_or_else(|| "(untitled)".to_owned()),
                session.agent.to_string(),
                transcript::state(session.state).to_owned(),
                ago(session.updated_at),
            ]);
        }
        match page.next_cursor {
            Some(next) if left > 0 => cursor = format!("&cursor={}", escape(&next)),
            _ => break,
        }
    }
    table.print(&mut io::stdout().lock(), context.terminal, "no sessions")
}

async fn show(client: &Client, id: SessionId, print: Print, context: &Context) -> Outcome {
    let path = format!("/sessions/{id}");
    if print.json {
        return print_json(&client.get_bytes(&path).await?);
    }
    let session: Session = client.get(&path).await?;
    transcript::print(client, &session, context).await
}

async fn delete(client: &Client, ids: &[SessionId], yes: bool) -> Outcome {
    if !yes {
        if !io::stdin().is_terminal() {
            return Err(Failure::Usage("nobody can be asked here: say --yes to delete".into()));
        }
        let what = if let [id] = ids { id.to_string() } else { format!("{} sessions", ids.len()) };
        write!(io::stderr().lock(), "Delete {what} for good? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Failure::Failed("nothing was deleted".into()));
        }
    }
    for id in ids {
        client.delete(&format!("/sessions/{id}")).await?;
    }
    Ok(())
}

async fn export(client: &Client, id: SessionId, output: Option<&Path>) -> Outcome {
    let log = client.get_bytes(&format!("/sessions/{id}/export")).await?;
    let Some(path) = output else { return Ok(io::stdout().lock().write_all(&log)?) };
    let written = fs::write(path, &log);
    written.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    confirm(&format!("{} bytes in {}", log.len(), path.display()))
}

async fn import(client: &Client, file: &Path) -> Outcome {
    let mut log = Vec::new();
    let cannot = |error| Failure::Usage(format!("{} cannot be read: {error}", file.display()));
    if file == Path::new("-") {
        io::stdin().lock().take(MAX_IMPORT_BYTES + 1).read_to_end(&mut log)?;
    } else {
        let opened = fs::File::open(file).map_err(cannot)?;
        opened.take(MAX_IMPORT_BYTES + 1).read_to_end(&mut log).map_err(cannot)?;
    }
    if log.len() as u64 > MAX_IMPORT_BYTES {
        return Err(Failure::Usage(format!("the log is longer than {MAX_IMPORT_BYTES} bytes")));
    }
    let made = client.send_raw("/sessions/import", "application/x-ndjson", log.into()).await?;
    let made: Session = serde_json::from_slice(&made)?;
    print_line(&made.id.to_string())
}
