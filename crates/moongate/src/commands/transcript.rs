//! A session and its conversation, for people.

use std::io::{self, Write as _};

use moongate_protocol::{Part, Role, SessionState};

use crate::{
    client::{Client, Page, Session, Spoken},
    context::Context,
    exit::Outcome,
    terminal::{Style, clean, one_line},
    times::ago,
};

/// Messages a server hands out at once.
const PAGE: usize = 200;
/// Longest line of a tool call.
const CALL_WIDTH: usize = 120;

/// A state in a word.
pub(super) fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Idle => "idle",
        SessionState::Running => "running",
        SessionState::Waiting => "waiting",
    }
}

/// Prints a session and all it holds.
pub(super) async fn print(client: &Client, session: &Session, context: &Context) -> Outcome {
    let mut messages: Vec<Spoken> = Vec::new();
    loop {
        let before = messages.first().map_or_else(String::new, |first| format!("&before={}", first.seq));
        let path = format!("/sessions/{}/messages?limit={PAGE}{before}", session.id);
        let page: Page<Spoken> = client.get(&path).await?;
        let is_last = page.items.len() < PAGE;
        messages.splice(0..0, page.items);
        if is_last {
            break;
        }
    }
    let mut out = io::stdout().lock();
    let terminal = context.terminal;
    writeln!(
        out,
        "{}",
        terminal.paint(Style::Bold, &clean(session.title.as_deref().unwrap_or("(untitled)")))
    )?;
    let usage = &session.usage;
    let cost = usage.cost_usd.map_or_else(|| "cost unknown".to_owned(), |usd| format!("${usd:.4}"));
    let facts = format!(
        "{} · {} · {} · begun {}, last {} · {} calls, {} in, {} out, {cost}",
        session.id,
        session.agent,
        state(session.state),
        ago(session.created_at),
        ago(session.updated_at),
        usage.calls,
        usage.tokens.input,
        usage.tokens.output,
    );
    writeln!(out, "{}", terminal.paint(Style::Dim, &facts))?;
    for message in &messages {
        writeln!(out)?;
        if message.role == Role::User {
            write!(out, "{}", terminal.paint(Style::Own, "› "))?;
        }
        for part in &message.parts {
            match part {
                Part::Text { text } => writeln!(out, "{}", clean(text))?,
                Part::Reasoning { text, .. } if text.is_empty() => {}
                Part::Reasoning { text, .. } => {
                    writeln!(out, "{}", terminal.paint(Style::Dim, &clean(text)))?;
                }
                Part::ToolCall { tool, arguments, .. } => {
                    let call = one_line(&format!("⚙ {tool} {arguments}"), CALL_WIDTH);
                    writeln!(out, "{}", terminal.paint(Style::Dim, &call))?;
                }
                Part::ToolResult { call, content, .. } => {
                    let result = one_line(&format!("⚙ {call}: {}", Part::join_text(content)), CALL_WIDTH);
                    writeln!(out, "{}", terminal.paint(Style::Dim, &result))?;
                }
                Part::Image { blob } => writeln!(out, "[image, {} bytes]", blob.bytes)?,
                Part::File { name, blob } => writeln!(out, "[file {}, {} bytes]", clean(name), blob.bytes)?,
            }
        }
        if message.partial {
            writeln!(out, "{}", terminal.paint(Style::Dim, "(stopped here)"))?;
        }
    }
    Ok(())
}
