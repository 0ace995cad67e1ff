//! A gateway in the test's own process, which can be crashed and started again on the same store.

use std::{sync::Arc, time::Duration};

use moongate_core::{
    Agent, Caller, CallerLimits, Catalog, Gateway, Limits, MemoryStore, Models, NewSession, Parts,
    PolicyRules, Scope, Scopes, SessionHandle, SpendLimits, Spending, Store, Tool, ToolPolicies, Toolbox,
};
use moongate_protocol::{Envelope, NewInput, Part, PolicyPreset, Seq, SessionId};

use crate::{Client, FaultyStore, ScriptedModel, ScriptedModels, TestClock, clock};

/// The model every test gateway's agent talks to.
pub const MODEL: &str = "scripted/main";
/// The agent of every test gateway.
pub const AGENT: &str = "main";

/// What a test gateway is made of.
pub struct Setup {
    /// Where the logs are; in memory unless the test says otherwise.
    pub store: Arc<dyn Store>,
    /// The models; one of them is [`MODEL`].
    pub models: ScriptedModels,
    /// In place of `models`: real providers, one of which knows [`MODEL`].
    pub providers: Option<Arc<dyn Models>>,
    /// The tools the agent has.
    pub tools: Vec<Arc<dyn Tool>>,
    /// What the agent may do.
    pub policy: PolicyPreset,
    /// Which tools a namespace may use.
    pub tool_policies: ToolPolicies,
    /// What the operator says about calls.
    pub policy_rules: PolicyRules,
    /// What may be spent, whoever answers.
    pub spending: Spending,
    /// What the agent may spend.
    pub spend: SpendLimits,
    /// Agents besides [`AGENT`]; one of that name takes its place.
    pub agents: Vec<Agent>,
    /// The bounds.
    pub limits: Limits,
    /// What the ids are made from.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            models: ScriptedModels::new([ScriptedModel::new(parsed(MODEL))]),
            providers: None,
            tools: Vec::new(),
            policy: PolicyPreset::Full,
            tool_policies: ToolPolicies::default(),
            policy_rules: PolicyRules::default(),
            spending: Spending::default(),
            spend: SpendLimits::default(),
            agents: Vec::new(),
            limits: Limits::default(),
            seed: 1,
        }
    }
}

impl Setup {
    /// With one model in place of the usual one.
    #[must_use]
    pub fn model(mut self, model: ScriptedModel) -> Self {
        self.models = ScriptedModels::new([model]);
        self
    }

    /// With one tool more.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool + 'static) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// With these tools more.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Starts the gateway.
    pub async fn start(self) -> TestGateway {
        TestGateway::start(self).await
    }
}

/// A gateway and the hands of its test on it.
pub struct TestGateway {
    gateway: Gateway,
    store: Arc<FaultyStore>,
    clock: Arc<TestClock>,
    setup: Setup,
    /// Which life of the process this is.
    life: u64,
}

impl TestGateway {
    async fn start(setup: Setup) -> Self {
        let clock = Arc::new(TestClock::default());
        let (gateway, store) = begin(&setup, &clock, 1);
        let this = Self { gateway, store, clock, setup, life: 1 };
        this.recover().await;
        this
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The store of this life; faults are made here.
    pub fn store(&self) -> &FaultyStore {
        &self.store
    }

    /// The store behind, which outlives crashes.
    pub fn disk(&self) -> &Arc<dyn Store> {
        &self.setup.store
    }

    /// The wall clock.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// All models.
    pub fn models(&self) -> &ScriptedModels {
        &self.setup.models
    }

    /// The model the agent talks to.
    pub fn model(&self) -> &ScriptedModel {
        self.setup.models.scripted(MODEL)
    }

    /// Ends the process as `kill -9` does: what is not on disk is gone, and nobody is answered.
    pub async fn crash(&self) {
        self.store.die();
        // Nothing of the old life has a share in the new one; what waits for the dead store waits for ever.
        let patience = Duration::ZERO;
        let over = tokio::time::timeout(patience, self.gateway.drain(patience)).await;
        drop(over);
    }

    /// Starts the process again on the same disk, after a crash if there was none yet.
    pub async fn restart(&mut self) {
        self.crash().await;
        self.restart_unrecovered();
        self.recover().await;
    }

    /// Starts the process again without taking up what was interrupted.
    pub fn restart_unrecovered(&mut self) {
        self.life += 1;
        (self.gateway, self.store) = begin(&self.setup, &self.clock, self.life);
    }

    /// Starts the process again with another set-up, without taking up what was interrupted.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.restart_unrecovered();
    }

    /// Takes up what was interrupted, as a process does when it starts.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn recover(&self) -> usize {
        self.gateway.recover().await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// A new session of bob's.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn session(&self) -> SessionHandle {
        let created = self.gateway.create(&bob(), "native", NewSession::default()).await;
        let created = created.unwrap_or_else(|refusal| panic!("{refusal}"));
        self.open(created.view.id).await
    }

    /// One of bob's sessions.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(&self, session: SessionId) -> SessionHandle {
        let handle = self.gateway.session(&bob(), session).await;
        handle.unwrap_or_else(|refusal| panic!("{session}: {refusal}"))
    }

    /// The whole log as the disk has it, whatever the gateway thinks.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn log(&self, session: SessionId) -> Vec<Envelope> {
        log_of(&**self.disk(), session).await
    }

    /// A client that follows one of bob's sessions from its start.
    pub async fn client(&self, session: SessionId) -> Client {
        Client::new(self.open(session).await.follow(None))
    }
}

/// The whole log of a session.
///
/// # Panics
/// When it cannot be read.
pub async fn log_of(store: &dyn Store, session: SessionId) -> Vec<Envelope> {
    let mut log: Vec<Envelope> = Vec::new();
    loop {
        let after = log.last().map_or(Seq::ZERO, |last| last.seq);
        let records = store.read(session, after, 1000).await.unwrap_or_else(|error| panic!("{error}"));
        if records.is_empty() {
            return log;
        }
        log.extend(records.iter().map(|r| r.envelope().unwrap_or_else(|error| panic!("{error}")).clone()));
    }
}

fn begin(setup: &Setup, clock: &Arc<TestClock>, life: u64) -> (Gateway, Arc<FaultyStore>) {
    let store = Arc::new(FaultyStore::new(Arc::clone(&setup.store)));
    let gateway = Gateway::new(Parts {
        store: Arc::<FaultyStore>::clone(&store),
        catalog: catalog(setup),
        ids: clock::ids(clock, setup.seed.wrapping_mul(1_000).wrapping_add(life)),
        limits: setup.limits.clone(),
    });
    (gateway, store)
}

fn catalog(setup: &Setup) -> Catalog {
    let mut agent = Agent::new(parsed(AGENT), parsed(MODEL));
    agent.tools = setup.tools.iter().map(|tool| tool.spec().name.clone()).collect();
    agent.policy = setup.policy;
    agent.spend = setup.spend;
    let agents = std::iter::once(&agent).chain(&setup.agents);
    Catalog {
        agents: agents.map(|agent| (agent.name.clone(), Arc::new(agent.clone()))).collect(),
        default_agent: parsed(AGENT),
        models: setup.providers.clone().unwrap_or_else(|| Arc::new(setup.models.clone())),
        tools: Toolbox::new(setup.tools.iter().cloned()),
        tool_policies: setup.tool_policies.clone(),
        policy_rules: Arc::new(setup.policy_rules.clone()),
        spending: setup.spending.clone(),
    }
}

/// A name from a literal.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A caller who may do what a person may with their own sessions.
pub fn caller(tenant: &str, principal: &str) -> Caller {
    let scopes = [Scope::SessionsRead, Scope::SessionsWrite, Scope::ApprovalsDecide, Scope::UsageRead];
    Caller::authenticated(
        parsed(tenant),
        parsed(principal),
        Scopes::from_iter(scopes),
        CallerLimits::default(),
    )
}

/// A caller whose rights reach no further than `limits`.
pub fn narrowed(tenant: &str, principal: &str, scopes: &[Scope], limits: CallerLimits) -> Caller {
    Caller::authenticated(parsed(tenant), parsed(principal), scopes.iter().copied().collect(), limits)
}

/// The usual caller.
pub fn bob() -> Caller {
    caller("default", "bob")
}

/// The administrator of bob's tenant.
pub fn admin() -> Caller {
    narrowed("default", "admin", &[Scope::Admin], CallerLimits::default())
}

/// Something to say.
pub fn says(text: &str) -> NewInput {
    NewInput { parts: vec![Part::text(text)], ..NewInput::default() }
}
