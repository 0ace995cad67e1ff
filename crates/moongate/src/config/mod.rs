//! The configuration: flags over the environment over the file, all faults reported together.

mod agents;
mod check;
mod document;
mod env;
mod fault;
mod file;
mod limits;
mod mcp;
mod overlay;
mod policy;
mod providers;
mod schema;
mod show;
mod spend;
#[cfg(test)]
mod tests;
mod texts;
mod tools;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moongate_core::{Agent, Limits, PolicyRules, Spending};
use moongate_protocol::AgentName;
use moongate_providers::{PriceOverride, ProviderConfig};

use self::{check::Reading, document::Document, fault::Faults, file::File};
pub(crate) use self::{
    env::Environment,
    fault::Wrong,
    overlay::Overlay,
    schema::schema,
    show::settings,
    texts::{MAX_FILE_BYTES, OVERLAY, Source, Texts},
    tools::FIND_ABOVE,
};
use crate::{
    cli::{LogFormat, Place, ServeArgs},
    exit::{Failure, Outcome},
};

/// Where the server listens by default.
const LISTEN: &str = "127.0.0.1:8137";
/// How long running turns may go on after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// What is in force.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What it was read from.
    pub(crate) texts: Texts,
    /// The file as it was written, with what clients changed.
    pub(crate) file: File,
    /// The folder everything is kept in.
    pub(crate) data: PathBuf,
    /// The folder of the store.
    pub(crate) store: PathBuf,
    /// Where to listen and whom to answer.
    pub(crate) server: Server,
    /// Where models are reached.
    pub(crate) providers: Vec<ProviderConfig>,
    /// What models cost, where the operator says so.
    pub(crate) prices: Vec<PriceOverride>,
    /// Who answers.
    pub(crate) agents: Agents,
    /// The bounds.
    pub(crate) limits: Limits,
    /// What may be spent, whoever answers.
    pub(crate) spending: Spending,
    /// Logs.
    pub(crate) log: Log,
    /// Where each value that is not the default's comes from, by its path.
    pub(crate) origins: BTreeMap<String, String>,
}

/// Where to listen and whom to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) tls: Option<Tls>,
    pub(crate) behind_proxy: bool,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) drain: Duration,
}

/// Certificate and key files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) struct Agents {
    pub(crate) by_name: BTreeMap<AgentName, Arc<Agent>>,
    /// Who answers when a client names nobody.
    pub(crate) default: AgentName,
    /// No model is configured: the built-in one answers.
    pub(crate) is_demo: bool,
    /// What is said about their tools' calls.
    pub(crate) rules: Arc<PolicyRules>,
    /// Where and how their tools work.
    pub(crate) tools: moongate_tools::Settings,
    /// The servers that tools come from.
    pub(crate) mcp: Vec<moongate_tools::mcp::ServerSettings>,
    /// Which of those servers' tools each agent has, as exact names and beginnings: what there is, is known later.
    pub(crate) mcp_tools: BTreeMap<AgentName, Vec<String>>,
}

impl Agents {
    /// Whether any of them has a tool of this name.
    pub(crate) fn has_tool(&self, name: &str) -> bool {
        self.by_name.values().any(|agent| agent.tools.iter().any(|tool| tool.as_str() == name))
    }
}

/// How much is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) filter: Option<String>,
    pub(crate) format: LogFormat,
}

/// What a configuration is read from.
#[derive(Clone)]
pub(crate) struct Origins {
    pub(crate) place: Place,
    pub(crate) serve: ServeArgs,
    pub(crate) env: Environment,
}

impl Origins {
    /// Reads everything and decides what is in force.
    ///
    /// # Errors
    /// With every fault, one a line, with its place.
    pub(crate) fn load(&self) -> Outcome<Config> {
        self.decide(self.texts()?).map_err(|wrong| {
            let advice = "Nothing was started. `moongate config schema` describes every key.";
            Failure::Usage(format!("{wrong}\n{advice}"))
        })
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn texts(&self) -> Outcome<Texts> {
        Texts::read(&self.place, &self.env)
    }

    /// Decides what is in force when these are the files.
    ///
    /// # Errors
    /// With every fault.
    pub(crate) fn decide(&self, texts: Texts) -> Result<Config, Wrong> {
        let config = self.read(&texts)?;
        Ok(Config { texts, ..config })
    }

    fn read(&self, texts: &Texts) -> Result<Config, Wrong> {
        let mut faults = Faults::default();
        let document = Document::parse(texts, &mut faults);
        let mut file: File = document.decode(&mut faults);
        if let Some(folder) = texts.folder() {
            make_absolute(&mut file, folder);
        }
        let Self { place, serve, env } = self;
        let mut reading =
            Reading { document: &document, faults, env, place, serve, origins: BTreeMap::new() };
        let config = reading.config(file);
        let faults = reading.faults;
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(faults.explain(&document)),
        }
    }
}

/// The folder everything is kept in, without reading the file.
pub(crate) fn data_folder(place: &Place, env: &Environment) -> Outcome<PathBuf> {
    let stated = place.data.clone().or_else(|| env.get("MOONGATE_DATA").map(PathBuf::from));
    stated.or_else(|| env.data_folder()).ok_or_else(|| {
        Failure::Usage("no home folder is known: say where to keep data with --data or MOONGATE_DATA".into())
    })
}

/// Paths in the file are relative to the file.
fn make_absolute(file: &mut File, folder: &Path) {
    let fix = |path: &mut PathBuf| *path = folder.join(&*path);
    file.store.path.iter_mut().for_each(fix);
    file.tools.workspace.iter_mut().for_each(fix);
    for tls in file.server.tls.iter_mut() {
        fix(&mut tls.cert);
        fix(&mut tls.key);
    }
    file.agents.values_mut().filter_map(|agent| agent.system_file.as_mut()).for_each(fix);
    for provider in file.providers.values_mut() {
        if let Some(file::SecretRef(file::SecretPlace::File(path))) = &mut provider.key {
            fix(path);
        }
    }
}
