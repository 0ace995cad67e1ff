//! `moongate mcp`.

use std::io;

use moongate_tools::mcp::{Pins, ServerLink, ServerSettings};
use serde::{Deserialize, Serialize};

use super::{confirm, print_json, print_line};
use crate::{
    cli::{McpCommand, Remote},
    client::find_running,
    config::Config,
    context::Context,
    data::DataFolder,
    exit::{Failure, Outcome},
    terminal::{Table, clean},
};

/// What the running server says of the tools.
#[derive(Deserialize)]
pub(super) struct Tools {
    pub(super) servers: Vec<Server>,
}

/// How an MCP server is.
#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) why: Option<String>,
    pub(super) tools: usize,
    #[serde(default)]
    pub(super) changed: Vec<String>,
}

/// A configured server, as it is printed.
#[derive(Serialize)]
struct Shown {
    name: String,
    reached: String,
    state: String,
    changed: Vec<Changed>,
}

/// A tool that waits for an operator, as it is printed.
#[derive(Serialize)]
struct Changed {
    tool: String,
    description: String,
    parameters: String,
}

/// Runs one of the commands about MCP servers.
///
/// # Errors
/// When the configuration or the pins cannot be read, or there is nothing to accept.
pub(crate) async fn mcp(command: McpCommand, context: &Context) -> Outcome {
    let (config, data) = (context.config()?, context.data()?);
    match command {
        McpCommand::List(print) => {
            let shown = shown(&config, &data).await?;
            if print.json {
                return print_json(&serde_json::to_vec_pretty(&shown)?);
            }
            let mut table = Table::new(["NAME", "STATE", "REACHED"], 2);
            for server in &shown {
                table.row([server.name.clone(), server.state.clone(), server.reached.clone()]);
            }
            table.print(
                &mut io::stdout().lock(),
                context.terminal,
                "no MCP server is configured: add [mcp.NAME]",
            )?;
            shown.iter().try_for_each(print_changed)
        }
        McpCommand::Accept { name, tool } => {
            if !config.agents.mcp.iter().any(|server| server.name == name) {
                return Err(Failure::Usage(format!(
                    "there is no MCP server named {name:?} in the configuration"
                )));
            }
            let accepted = Pins::new(data.path()).accept(&name, tool.as_deref());
            let accepted = accepted.map_err(|fault| Failure::Failed(fault.to_string()))?;
            if accepted.is_empty() {
                return Err(Failure::Failed(
                    "nothing waits to be accepted: `moongate mcp list` shows what does".into(),
                ));
            }
            accepted.iter().try_for_each(|tool| print_line(&clean(tool)))?;
            confirm("Accepted. A running server takes it up within seconds.")
        }
    }
}

/// The changed definitions in full: whoever accepts them has to have seen them.
fn print_changed(server: &Shown) -> Outcome {
    for changed in &server.changed {
        print_line(&format!(
            "\n{}: the definition of {} changed. It now says:\n{}\n{}\nAccept it: moongate mcp accept {} {}",
            server.name,
            clean(&changed.tool),
            clean(&changed.description),
            clean(&changed.parameters),
            server.name,
            clean(&changed.tool),
        ))?;
    }
    Ok(())
}

async fn shown(config: &Config, data: &DataFolder) -> Outcome<Vec<Shown>> {
    let running = running(data).await?;
    let pins = Pins::new(data.path());
    let show = |server: &ServerSettings| {
        let known =
            running.as_ref().and_then(|tools| tools.servers.iter().find(|known| known.name == server.name));
        let changed = pins.changed(&server.name).map_err(|fault| Failure::Failed(fault.to_string()))?;
        let changed = changed.into_iter().map(|it| Changed {
            tool: it.tool,
            description: it.description,
            parameters: it.parameters,
        });
        Ok(Shown {
            name: server.name.clone(),
            reached: reached(&server.link),
            state: known.map_or_else(|| "not running".into(), state),
            changed: changed.collect(),
        })
    };
    config.agents.mcp.iter().map(show).collect()
}

/// What a running server says of its MCP servers; `None` where none runs.
pub(super) async fn running(data: &DataFolder) -> Outcome<Option<Tools>> {
    let Some(client) = find_running(&Remote::default(), data).await? else { return Ok(None) };
    let body = client.get_bytes("/tools").await?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// How a server is, in words.
pub(super) fn state(server: &Server) -> String {
    match &server.why {
        Some(why) => format!("{}: {why}", server.state),
        None if server.changed.is_empty() => format!("{}, {} tools", server.state, server.tools),
        None => {
            let changed = server.changed.join(", ");
            format!("{}, {} tools; waiting to be accepted: {changed}", server.state, server.tools)
        }
    }
}

/// The exact command or address, nothing left out.
fn reached(link: &ServerLink) -> String {
    match link {
        ServerLink::Stdio(program) => {
            let words = [&program.command].into_iter().chain(&program.args);
            words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
        }
        ServerLink::Http(address) => address.to_string(),
    }
}
