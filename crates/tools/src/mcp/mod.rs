//! Tools of MCP servers that the operator named. Each server is connected to in the background and kept connected;
//! its tools are an agent's like any other, and whatever goes wrong with it is a result of a call.

mod answer;
mod definition;
mod ear;
mod event_size;
mod find;
mod http;
mod link;
mod pins;
mod process;
mod server;
mod settings;
mod tls;
mod tool;

use std::{sync::Arc, time::Duration};

use moongate_core::{Tool, ToolServer};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

pub use self::{
    find::FindTool,
    pins::{ChangedTool, Pins, PinsFault},
    settings::{Address, AddressFault, Link as ServerLink, Program, ServerSettings},
};
use self::{
    link::{Greeting, Link},
    server::Server,
};

/// How long a server that fell is left alone at first, and at least.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long it is left alone at most, unless a call wants it.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// A connection that lived for so long did not fall at once.
const STEADY: Duration = Duration::from_secs(60);

/// All MCP servers of a node. Dropping it ends their connections and their programs.
pub struct Mcp {
    servers: Vec<Arc<Server>>,
    changes: watch::Receiver<u64>,
    _keepers: JoinSet<()>,
}

impl Mcp {
    /// Begins to connect to these servers; nothing is waited for. Definitions are pinned in a file of this folder.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start(settings: Vec<ServerSettings>, pins: &Pins) -> Self {
        let (tell, changes) = watch::channel(0);
        let make = |settings| Arc::new(Server::new(settings, pins.clone(), tell.clone()));
        let servers: Vec<_> = settings.into_iter().map(make).collect();
        let mut keepers = JoinSet::new();
        for server in &servers {
            keepers.spawn(keep(Arc::clone(server)));
        }
        Self { servers, changes, _keepers: keepers }
    }

    /// The tools there are at the moment.
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.servers.iter().flat_map(|server| server.tools()).map(|tool| tool as Arc<dyn Tool>).collect()
    }

    /// How each server is.
    pub fn servers(&self) -> Vec<ToolServer> {
        self.servers.iter().map(|server| server.status()).collect()
    }

    /// Counts changes of the tools and of the servers' states.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Keeps one server connected. One that falls is left alone for longer and longer; a call that wants it ends that
/// early.
async fn keep(server: Arc<Server>) {
    let (mut rest, mut greeting) = (FIRST_REST, Greeting::AnyEra);
    loop {
        let began = Instant::now();
        let why = match Link::open(&server, greeting).await {
            Ok(link) => link.serve(&server).await,
            Err(why) => {
                greeting = greeting.other();
                why
            }
        };
        server.down(&why);
        if began.elapsed() >= STEADY {
            rest = FIRST_REST;
        }
        sleep(FIRST_REST).await;
        tokio::select! {
            () = sleep(rest.saturating_sub(FIRST_REST)) => {}
            () = server.wanted.notified() => {}
        }
        rest = (rest * 2).min(LONGEST_REST);
    }
}
