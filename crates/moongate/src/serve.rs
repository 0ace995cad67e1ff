//! The server: built, announced, run until a signal, drained. And the one a chat starts for itself.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use moongate_server::{App, BindError, Server, ServerConfig, Tls};
use moongate_tools::SandboxChoice;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    client::{Client, announced},
    config::{self, Config},
    context::Context,
    data::{Announced, read_key},
    exit::{Failure, Outcome},
    logging,
    wiring::Node,
};

/// How long turns may go on when a chat leaves that brought its own server.
const LOCAL_DRAIN: Duration = Duration::from_secs(1);

/// Runs `moongate serve` until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub(crate) async fn serve(context: &Context) -> Outcome {
    let config = context.config()?;
    logging::start(&config.log, context.terminal);
    let signals = Signals::listen()?;
    let node = Node::build(&config, &context.origins)?;
    let server = bind(&config, &node).await?;
    warn_of_open_commands(&config);
    let app = server.app().clone();
    let announced = node.data.announce(&config.server, server.local_addr(), false)?;
    let recovered = node.recover().await?;
    if recovered > 0 {
        tracing::info!(sessions = recovered, "unfinished sessions go on");
    }
    if greet(&config, &node, &announced).is_err() {
        tracing::info!(server.url = announced.running().url, "standard output is closed; the server runs");
    }
    let shutdown = CancellationToken::new();
    let ended = tokio::select! {
        () = server.run(shutdown.clone(), config.server.drain) => Ended::Drained,
        () = signals.obey(&config, &node, (&app, &shutdown)) => Ended::AtOnce,
    };
    drop(announced);
    match ended {
        Ended::Drained => tracing::info!("stopped"),
        Ended::AtOnce => tracing::warn!("stopped at once; unfinished turns go on at the next start"),
    }
    node.close().await;
    Ok(())
}

/// Says loudly that nothing keeps commands in, where the operator wants it so.
fn warn_of_open_commands(config: &Config) {
    let shell = &config.agents.tools.shell;
    if shell.enabled && shell.choice == SandboxChoice::None && config.agents.has_tool("shell") {
        tracing::warn!(
            "[tools.shell] sandbox is \"none\": commands of agents may do whatever this user may, with every file and \
             key of this machine"
        );
    }
}

enum Ended {
    Drained,
    AtOnce,
}

async fn bind(config: &Config, node: &Node) -> Outcome<Server> {
    let server = ServerConfig {
        listen: config.server.listen,
        tls: config.server.tls.as_ref().map(tls).transpose()?,
        behind_proxy: config.server.behind_proxy,
        app: node.app(config)?,
    };
    Server::bind(server, node.gateway.clone()).await.map_err(|error| match error {
        BindError::ClearText(_) | BindError::Certificate(_) => Failure::Usage(error.to_string()),
        BindError::Refused { .. } => {
            Failure::Failed(format!("{error}; choose another address with --listen"))
        }
    })
}

fn tls(files: &config::Tls) -> Outcome<Tls> {
    let read = |path: &std::path::Path| {
        fs::read(path).map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))
    };
    Tls::from_pem(&read(&files.cert)?, &read(&files.key)?).map_err(|error| Failure::Usage(error.to_string()))
}

/// Says where it listens, who answers, and where the key lies.
fn greet(config: &Config, node: &Node, announced: &Announced) -> Outcome {
    let mut out = io::stdout().lock();
    let agents = &config.agents;
    writeln!(out, "Moongate {} listens on {}", env!("CARGO_PKG_VERSION"), announced.running().url)?;
    if let Some(agent) = agents.by_name.get(&agents.default) {
        writeln!(out, "  agent  {} · model {}", agent.name, agent.model)?;
    }
    if let Some(source) = &config.texts.file {
        writeln!(out, "  config {}", source.path.display())?;
    }
    writeln!(out, "  data   {}", node.data.path().display())?;
    writeln!(out, "  key    in {}", node.data.admin_key_path().display())?;
    if agents.is_demo {
        writeln!(
            out,
            "No model is configured, so builtin/demo answers. Set OPENAI_API_KEY, ANTHROPIC_API_KEY or"
        )?;
        writeln!(out, "OPENAI_BASE_URL (and MOONGATE_MODEL), or write [providers.*] into a moongate.toml.")?;
    }
    Ok(out.flush()?)
}

/// What the operating system can ask of the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The first signal to stop begins to drain, the second one ends this.
    async fn obey(mut self, config: &Config, node: &Node, (app, shutdown): (&App, &CancellationToken)) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hang_up.recv() => {
                    reload(node, app);
                    continue;
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
            let (turns, secs) = (node.gateway.running_turns(), config.server.drain.as_secs());
            tracing::info!(turns, drain_secs = secs, "stopping; a second signal stops at once");
            shutdown.cancel();
        }
    }
}

/// Reads the configuration again and applies what can be applied live, or nothing when something is wrong.
fn reload(node: &Node, app: &App) {
    let stale = match node.desk.reload(app) {
        Ok(stale) => stale,
        Err(failure) => {
            tracing::error!("the configuration was not applied, the one in force stays:\n{failure}");
            return;
        }
    };
    let agents = node.gateway.catalog().agents.len();
    tracing::info!(agents, "agents, models, limits and rates of the configuration are in force");
    if !stale.is_empty() {
        tracing::warn!(sections = stale.join(", "), "these changed and need a restart");
    }
}

/// A server of this process's own, for a chat that found none running.
pub(crate) struct Local {
    node: Node,
    announced: Announced,
    shutdown: CancellationToken,
    running: AbortOnDropHandle<()>,
}

impl Local {
    /// Starts a server on a free port of the loopback address.
    ///
    /// # Errors
    /// When it cannot start.
    pub(crate) async fn start(context: &Context) -> Outcome<Self> {
        let mut config = context.config()?;
        logging::start(&config.log.or_quiet(), context.terminal);
        config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.server.tls = None;
        config.file.doors = config.file.doors.without_listeners();
        let node = Node::build(&config, &context.origins)?;
        let server = bind(&config, &node).await?;
        let announced = node.data.announce(&config.server, server.local_addr(), true)?;
        node.recover().await?;
        let shutdown = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(server.run(shutdown.clone(), LOCAL_DRAIN)));
        Ok(Self { node, announced, shutdown, running })
    }

    /// A client of this server.
    ///
    /// # Errors
    /// When its key cannot be read.
    pub(crate) fn client(&self) -> Outcome<Client> {
        let key = read_key(&self.node.data.admin_key_path())?;
        announced(self.announced.running(), key)
    }

    /// Stops it; unfinished turns go on at the next start.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the server ended badly");
        }
        drop(self.announced);
        self.node.close().await;
    }
}
