//! Where the configuration is changed while the server runs: what clients said is kept in a file of its own,
//! over the operator's, and put in force.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use moongate_core::{Catalog, Gateway};
use moongate_server::{App, ChangeFault, Configuration, Doors, Effect, Setting, SettingChange};
use moongate_tools::mcp::Mcp;
use tokio::sync::watch;
use toml::{Table, Value};

use crate::{
    config::{Config, MAX_FILE_BYTES, OVERLAY, Origins, Overlay, Source, Texts, settings},
    data::DataFolder,
    exit::Outcome,
    wiring::{catalog, equipped},
};

/// What knows the configuration and changes it.
pub(crate) struct Desk {
    origins: Origins,
    data: DataFolder,
    gateway: Gateway,
    mcp: Arc<Mcp>,
    now: RwLock<Arc<Config>>,
    /// Held while a change is made: one at a time.
    changing: Mutex<()>,
}

impl Desk {
    pub(crate) fn new(
        origins: Origins,
        data: DataFolder,
        (gateway, mcp): (Gateway, Arc<Mcp>),
        config: Config,
    ) -> Self {
        Self { origins, data, gateway, mcp, now: RwLock::new(Arc::new(config)), changing: Mutex::new(()) }
    }

    /// The configuration in force.
    pub(crate) fn now(&self) -> Arc<Config> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads everything again and puts in force what can be, or nothing when something is wrong. Says which
    /// sections changed that need a restart.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub(crate) fn reload(&self, app: &App) -> Outcome<Vec<&'static str>> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.origins.load()?;
        let catalog = catalog(&config, &self.mcp)?;
        let stale = stale(&self.now(), &config);
        self.put_in_force(config, catalog, app);
        Ok(stale)
    }

    /// Puts the tools in force that MCP servers have, whenever that changes.
    pub(crate) async fn follow_tools(&self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            self.take_tools();
        }
    }

    fn take_tools(&self) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (agents, tools) = equipped(&self.now(), &self.mcp);
        let before = self.gateway.catalog();
        self.gateway.set_catalog(Catalog { agents, tools, ..(*before).clone() });
    }

    fn put_in_force(&self, config: Config, catalog: Catalog, app: &App) {
        self.gateway.set_catalog(catalog);
        self.gateway.set_limits(config.limits.clone());
        app.set_doors(&config.file.doors);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

impl Configuration for Desk {
    fn settings(&self) -> Vec<Setting> {
        settings(&self.now())
    }

    fn change(&self, changes: &[SettingChange], app: &App) -> Result<Vec<Effect>, ChangeFault> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let mut overlay = Overlay::of(&now.texts).map_err(ChangeFault::Refused)?;
        let effects = overlay.take(changes).map_err(ChangeFault::Refused)?;
        if effects.iter().all(|effect| *effect == Effect::Same) {
            return Ok(effects);
        }
        let text = overlay.text();
        if text.len() as u64 > MAX_FILE_BYTES {
            let message = format!("all changes together are longer than {MAX_FILE_BYTES} bytes");
            return Err(ChangeFault::Refused(vec![message]));
        }
        // What the files say now counts when the server is told to read them, not because of this.
        let source = Source { path: self.data.path().join(OVERLAY), text: text.clone() };
        let texts = Texts { file: now.texts.file.clone(), overlay: Some(source) };
        let config = self.origins.decide(texts).map_err(|wrong| ChangeFault::Refused(wrong.by_key()))?;
        let decided = decided_elsewhere(&config, changes);
        if !decided.is_empty() {
            return Err(ChangeFault::Refused(decided));
        }
        let catalog =
            catalog(&config, &self.mcp).map_err(|fault| ChangeFault::Refused(vec![fault.to_string()]))?;
        if let Err(error) = self.data.write_overlay(&text) {
            tracing::error!(%error, "a change of the configuration could not be written");
            return Err(ChangeFault::Failed);
        }
        self.put_in_force(config, catalog, app);
        Ok(effects)
    }
}

/// The changes that a flag or a variable makes meaningless.
fn decided_elsewhere(config: &Config, changes: &[SettingChange]) -> Vec<String> {
    let wished = changes.iter().filter(|change| change.value.is_some());
    let by = wished.filter_map(|change| {
        let key = change.path.join(".");
        let by = config.origins.get(&key)?;
        Some(format!("{key}: {by} decides it; start without that to change it here"))
    });
    by.collect()
}

/// Sections that differ in what only a restart puts in force.
fn stale(before: &Config, after: &Config) -> Vec<&'static str> {
    let sections = [
        ("data", after.data != before.data),
        ("server", after.server != before.server),
        ("store", after.store != before.store),
        ("mcp", after.file.mcp != before.file.mcp),
        ("doors", fixed(&after.file.doors) != fixed(&before.file.doors)),
        ("telemetry", after.log != before.log),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Settings of doors that are as they were at the start.
fn fixed(doors: &Doors) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    if let Ok(table) = Table::try_from(doors) {
        leaves(Vec::new(), Value::Table(table), &mut found);
    }
    found.retain(|(path, _)| {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        Doors::effect(&path) != Some(Effect::Applied)
    });
    found
}

fn leaves(path: Vec<String>, value: Value, found: &mut Vec<(Vec<String>, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                leaves(path.iter().cloned().chain([key]).collect(), value, found);
            }
        }
        value => found.push((path, value)),
    }
}
