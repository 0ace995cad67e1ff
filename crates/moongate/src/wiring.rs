//! From configuration to parts that run: models, agents, the store, the gateway.

use std::{collections::BTreeMap, sync::Arc};

use moongate_core::{
    Agent, Catalog, FIND_TOOL, Gateway, Ids, Parts, Store, Tool, ToolPolicies, ToolPolicy, Toolbox,
};
use moongate_protocol::AgentName;
use moongate_providers::{PriceTable, Registry};
use moongate_server::{AdminKey, AppConfig, Configuration, Network};
use moongate_store::SqliteStore;
use moongate_tools::mcp::{FindTool, Mcp, Pins};
use tokio::task::JoinSet;

use crate::{
    config::{Config, FIND_ABOVE, Origins},
    data::DataFolder,
    desk::Desk,
    exit::{Failure, Outcome},
};

/// Agents and models as they are configured.
///
/// # Errors
/// With everything that is wrong with the providers.
pub(crate) fn catalog(config: &Config, mcp: &Mcp) -> Outcome<Catalog> {
    let prices = PriceTable::with_overrides(config.prices.iter().cloned());
    let registry = Registry::new(config.providers.iter().cloned(), prices).map_err(|faults| {
        Failure::Usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let (agents, tools) = equipped(config, mcp);
    Ok(Catalog {
        agents,
        default_agent: config.agents.default.clone(),
        models: Arc::new(registry),
        tools,
        tool_policies: tool_policies(config),
        policy_rules: Arc::clone(&config.agents.rules),
        spending: config.spending.clone(),
    })
}

/// The agents with all their tools, and the tools: those that are built in, and those MCP servers have now.
pub(crate) fn equipped(config: &Config, mcp: &Mcp) -> (BTreeMap<AgentName, Arc<Agent>>, Toolbox) {
    let theirs = mcp.tools();
    let most = config.file.tools.find_above.unwrap_or(FIND_ABOVE);
    let (mut agents, mut hidden) = (BTreeMap::new(), BTreeMap::new());
    for (name, agent) in &config.agents.by_name {
        let wanted = config.agents.mcp_tools.get(name).map(Vec::as_slice).unwrap_or_default();
        let (agent, not_shown) = with_theirs(agent, wanted, &theirs, most);
        if !not_shown.is_empty() {
            hidden.insert(name.clone(), not_shown.into());
        }
        agents.insert(name.clone(), agent);
    }
    let find =
        (!hidden.is_empty()).then(|| Arc::new(FindTool::new(hidden, tool_policies(config))) as Arc<dyn Tool>);
    let mut settings = config.agents.tools.clone();
    // What needs a sandbox is made ready only where an agent has it: trying it out takes a moment.
    settings.shell.enabled &= config.agents.has_tool("shell");
    // Where names are the same, what is built in wins.
    let tools = theirs.iter().cloned().chain(find).chain(moongate_tools::built_in(&settings));
    (agents, Toolbox::new(tools).served_by(mcp.servers()))
}

/// An agent with those of the servers' tools it is to have, and which of them it has to look for, because it has more
/// tools than `most`.
fn with_theirs(
    agent: &Arc<Agent>,
    wanted: &[String],
    theirs: &[Arc<dyn Tool>],
    most: usize,
) -> (Arc<Agent>, Vec<Arc<dyn Tool>>) {
    let allowed = ToolPolicy::Allow(wanted.to_vec());
    let more: Vec<_> = theirs.iter().filter(|tool| allowed.allows(tool.spec().name.as_str())).collect();
    if more.is_empty() {
        return (Arc::clone(agent), Vec::new());
    }
    let mut tools = agent.tools.clone();
    tools.extend(more.iter().map(|tool| tool.spec().name.clone()));
    let is_named = |tool: &Arc<dyn Tool>| wanted.iter().any(|name| name == tool.spec().name.as_str());
    let mut not_shown = Vec::new();
    if tools.len() > most
        && let Ok(find) = FIND_TOOL.parse()
    {
        not_shown.extend(more.into_iter().filter(|tool| !is_named(tool)).cloned());
        tools.push(find);
    }
    let hidden = not_shown.iter().map(|tool| tool.spec().name.clone()).collect();
    (Arc::new(Agent { tools, hidden, ..(**agent).clone() }), not_shown)
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
    /// Follows what the MCP servers have.
    _following: JoinSet<()>,
}

impl Node {
    /// Opens the data folder and makes a gateway over it. No turn runs yet.
    ///
    /// # Errors
    /// When the folder is another process's, damaged or open to others, or the models cannot be used.
    pub(crate) fn build(config: &Config, origins: &Origins) -> Outcome<Self> {
        let data = DataFolder::new(config.data.clone());
        data.create()?;
        let store = SqliteStore::open(&config.store).map_err(|error| Failure::Failed(error.to_string()))?;
        let ids = Ids::default();
        // After the store: who does not own the folder writes no key into it.
        let admin = data.admin_key(&ids)?;
        let mcp = Arc::new(Mcp::start(config.agents.mcp.clone(), &Pins::new(data.path())));
        let catalog = catalog(config, &mcp)?;
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let gateway = Gateway::new(Parts { store: shared, catalog, ids, limits: config.limits.clone() });
        let (changes, mut following) = (mcp.changes(), JoinSet::new());
        let desk = Desk::new(origins.clone(), data.clone(), (gateway.clone(), mcp), config.clone());
        let desk = Arc::new(desk);
        let follows = Arc::clone(&desk);
        following.spawn(async move { follows.follow_tools(changes).await });
        Ok(Self { data, gateway, desk, store, admin, _following: following })
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
