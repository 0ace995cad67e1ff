//! From configuration to parts that run: models, agents, the store, the gateway.

use std::sync::Arc;

use moongate_core::{Catalog, Gateway, Ids, Parts, Store, ToolPolicies, Toolbox};
use moongate_providers::{PriceTable, Registry};
use moongate_server::{AdminKey, AppConfig, Configuration, Network};
use moongate_store::SqliteStore;

use crate::{
    config::{Config, Origins},
    data::DataFolder,
    desk::Desk,
    exit::{Failure, Outcome},
};

/// Agents and models as they are configured.
///
/// # Errors
/// With everything that is wrong with the providers.
pub(crate) fn catalog(config: &Config) -> Outcome<Catalog> {
    let prices = PriceTable::with_overrides(config.prices.iter().cloned());
    let registry = Registry::new(config.providers.iter().cloned(), prices).map_err(|faults| {
        Failure::Usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let mut tools = config.agents.tools.clone();
    // What needs a sandbox is made ready only where an agent has it: trying it out takes a moment.
    tools.shell.enabled &= config.agents.has_tool("shell");
    Ok(Catalog {
        agents: config.agents.by_name.clone(),
        default_agent: config.agents.default.clone(),
        models: Arc::new(registry),
        tools: Toolbox::new(moongate_tools::built_in(&tools)),
        tool_policies: tool_policies(config),
        spending: config.spending.clone(),
    })
}

/// What tools may be used where, as the doors' sections say.
fn tool_policies(config: &Config) -> ToolPolicies {
    let orra = &config.file.doors.orra;
    if orra.enabled { orra.tool_policies() } else { ToolPolicies::default() }
}

/// Everything of a node but its listener.
pub(crate) struct Node {
    pub(crate) data: DataFolder,
    pub(crate) gateway: Gateway,
    pub(crate) desk: Arc<Desk>,
    store: Arc<SqliteStore>,
    admin: AdminKey,
}

impl Node {
    /// Opens the data folder and makes a gateway over it. No turn runs yet.
    ///
    /// # Errors
    /// When the folder is another process's, damaged or open to others, or the models cannot be used.
    pub(crate) fn build(config: &Config, origins: &Origins) -> Outcome<Self> {
        let data = DataFolder::new(config.data.clone());
        data.create()?;
        let catalog = catalog(config)?;
        let store = SqliteStore::open(&config.store).map_err(|error| Failure::Failed(error.to_string()))?;
        let ids = Ids::default();
        // After the store: who does not own the folder writes no key into it.
        let admin = data.admin_key(&ids)?;
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let gateway = Gateway::new(Parts { store: shared, catalog, ids, limits: config.limits.clone() });
        let desk = Desk::new(origins.clone(), data.clone(), gateway.clone(), config.clone());
        Ok(Self { data, gateway, desk: Arc::new(desk), store, admin })
    }

    /// What the routes need.
    ///
    /// # Errors
    /// When a network cannot be read.
    pub(crate) fn app(&self, config: &Config) -> Outcome<AppConfig> {
        let parse =
            |text: &String| text.parse::<Network>().map_err(|error| Failure::Usage(error.to_string()));
        Ok(AppConfig {
            hosts: config.server.hosts.clone(),
            origins: config.server.origins.clone(),
            trusted_proxies: config.server.trusted_proxies.iter().map(parse).collect::<Outcome<_>>()?,
            config: Arc::clone(&self.desk) as Arc<dyn Configuration>,
            doors: config.file.doors.clone(),
            ..AppConfig::new(self.admin.clone())
        })
    }

    /// Takes up what the last process left unfinished.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn recover(&self) -> Outcome<usize> {
        self.gateway.recover().await.map_err(|refusal| Failure::Failed(refusal.to_string()))
    }

    /// Leaves the store tidy. The gateway was drained before.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}
