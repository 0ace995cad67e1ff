//! The configuration: flags over the environment over the file, all faults reported together.

mod agents;
mod check;
mod document;
mod env;
mod fault;
mod file;
mod limits;
mod providers;
mod schema;
mod show;
mod spend;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moongate_core::{Agent, Limits, Spending};
use moongate_protocol::AgentName;
use moongate_providers::{PriceOverride, ProviderConfig};

use self::{check::Reading, document::Document, fault::Faults, file::File};
pub(crate) use self::{
    env::Environment,
    schema::schema,
    show::{Setting, settings},
};
use crate::{
    cli::{LogFormat, Place, ServeArgs},
    exit::{Failure, Outcome},
};

/// Where the server listens by default.
const LISTEN: &str = "127.0.0.1:8137";
/// How long running turns may go on after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// Longest configuration file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What is in force.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file it was read from, where there was one.
    pub(crate) source: Option<Source>,
    /// The file as it was written.
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

/// A configuration file as it was when it was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
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
}

/// How much is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) filter: Option<String>,
    pub(crate) format: LogFormat,
}

/// Reads everything and decides what is in force.
///
/// # Errors
/// With every fault, one a line, with its place.
pub(crate) fn load(place: &Place, serve: &ServeArgs, env: &Environment) -> Outcome<Config> {
    let source = read(place, env)?;
    let (path, text) = source.as_ref().map_or((None, ""), |source| (Some(&*source.path), &*source.text));
    let mut faults = Faults::default();
    let document = Document::parse(text, &mut faults);
    let mut file: File = document.decode(&mut faults);
    if let Some(path) = path {
        make_absolute(&mut file, path.parent().unwrap_or(Path::new(".")));
    }
    let mut reading = Reading { document: &document, faults, env, place, serve, origins: BTreeMap::new() };
    let config = reading.config(file);
    let faults = reading.faults;
    match config {
        Some(config) if faults.is_empty() => Ok(Config { source, ..config }),
        _ => {
            let advice = "Nothing was started. `moongate config schema` describes every key.";
            Err(Failure::Usage(format!("{}\n{advice}", faults.render(path, text))))
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

/// The file's path and text. A file somebody named has to be there.
fn read(place: &Place, env: &Environment) -> Outcome<Option<Source>> {
    let named = place.config.clone().or_else(|| env.get("MOONGATE_CONFIG").map(PathBuf::from));
    let must_exist = named.is_some();
    let Some(path) = named.or_else(|| env.config_file()) else { return Ok(None) };
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("the configuration file {} cannot be read: {error}", path.display()))
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
            return Ok(None);
        }
        Err(error) => return Err(cannot(&error)),
        Ok(found) if found.len() > MAX_FILE_BYTES => {
            return Err(cannot(&format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| cannot(&error))?;
    Ok(Some(Source { path, text }))
}

/// Paths in the file are relative to the file.
fn make_absolute(file: &mut File, folder: &Path) {
    let fix = |path: &mut PathBuf| *path = folder.join(&*path);
    file.store.path.iter_mut().for_each(fix);
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
