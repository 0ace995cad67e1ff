//! One server: the tools it has, how it is, and the connection its calls go through.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moongate_core::{ServerState, Tool, ToolServer};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{definition::Definition, link::Line, pins::Pins, settings::ServerSettings, tool::McpTool};

/// How long a call waits for a server that is not there: longer than a quick restart takes.
const CALL_WAITS: Duration = Duration::from_secs(10);

/// Longest reason that is told why a server is down, in characters.
const WHY_CHARS: usize = 300;

/// What is shared by a server's connection and its tools.
pub(super) struct Server {
    pub(super) settings: ServerSettings,
    pub(super) pins: Pins,
    line: watch::Sender<Option<Arc<Line>>>,
    known: Mutex<Known>,
    /// Told when a call finds no connection.
    pub(super) wanted: Notify,
    /// Told when a call was not answered in time.
    pub(super) doubted: Notify,
    /// Counts the changes of all servers.
    changes: watch::Sender<u64>,
}

struct Known {
    state: ServerState,
    tools: Vec<Arc<McpTool>>,
}

impl Server {
    pub(super) fn new(settings: ServerSettings, pins: Pins, changes: watch::Sender<u64>) -> Self {
        Self {
            settings,
            pins,
            line: watch::Sender::new(None),
            known: Mutex::new(Known { state: ServerState::Starting, tools: Vec::new() }),
            wanted: Notify::new(),
            doubted: Notify::new(),
            changes,
        }
    }

    /// The connection calls go through, waited for a little.
    ///
    /// # Errors
    /// Why there is none, for a model.
    pub(super) async fn line(&self) -> Result<Arc<Line>, String> {
        let mut line = self.line.subscribe();
        let mut open = line.borrow_and_update().clone();
        if open.is_none() {
            self.wanted.notify_one();
            let found = timeout(CALL_WAITS, line.wait_for(Option::is_some)).await;
            open = found.ok().and_then(|found| found.ok()?.clone());
        }
        open.ok_or_else(|| match &self.known().state {
            ServerState::Down(why) => format!("The MCP server {} is not running: {why}.", self.settings.name),
            ServerState::Starting | ServerState::Up => {
                format!("The MCP server {} has not started yet.", self.settings.name)
            }
        })
    }

    /// Takes up a connection, and the tools that were found through it.
    pub(super) fn up(self: &Arc<Self>, line: &Arc<Line>, tools: Vec<(Definition, bool)>) {
        self.put_tools(tools);
        self.set(ServerState::Up);
        self.line.send_replace(Some(Arc::clone(line)));
    }

    /// The tools it has now, each with whether its definition is the pinned one.
    pub(super) fn put_tools(self: &Arc<Self>, tools: Vec<(Definition, bool)>) {
        let make = |(definition, is_pinned)| Arc::new(McpTool::new(self, definition, is_pinned));
        let tools: Vec<_> = tools.into_iter().map(make).collect();
        {
            let mut known = self.known();
            let same = known.tools.len() == tools.len()
                && known.tools.iter().zip(&tools).all(|(before, now)| before.is_as(now));
            if same {
                return;
            }
            known.tools = tools;
        }
        self.tell();
    }

    /// The connection is gone. Its tools stay: their calls say that it is down.
    pub(super) fn down(&self, why: &str) {
        self.line.send_replace(None);
        // A part of it may be the server's own words.
        let why = why.chars().filter(|c| !c.is_control()).take(WHY_CHARS).collect();
        self.set(ServerState::Down(why));
    }

    /// How it is.
    pub(super) fn status(&self) -> ToolServer {
        let known = self.known();
        let changed = known.tools.iter().filter(|tool| tool.has_changed());
        ToolServer {
            name: self.settings.name.clone(),
            state: known.state.clone(),
            tools: known.tools.len(),
            changed: changed.map(|tool| tool.spec().name.clone()).collect(),
        }
    }

    /// The tools it has.
    pub(super) fn tools(&self) -> Vec<Arc<McpTool>> {
        self.known().tools.clone()
    }

    /// Whether an operator has to look at one of its tools.
    pub(super) fn has_changed_tools(&self) -> bool {
        self.known().tools.iter().any(|tool| tool.has_changed())
    }

    fn set(&self, state: ServerState) {
        if self.known().state == state {
            return;
        }
        match &state {
            ServerState::Down(why) => {
                tracing::warn!(mcp.server = self.settings.name, why, "an MCP server is down");
            }
            ServerState::Up => tracing::info!(mcp.server = self.settings.name, "an MCP server is up"),
            ServerState::Starting => {}
        }
        self.known().state = state;
        self.tell();
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
