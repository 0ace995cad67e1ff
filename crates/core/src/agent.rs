//! What an operator configured: agents, models, tools. Exchanged as a whole; a running turn keeps what it
//! began with.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use moongate_protocol::{
    AgentName, AgentSnapshot, ErrorCode, ModelName, Namespace, PolicyPreset, ToolName, ToolSpec,
};

use crate::{
    CallSettings, Caller, Models, PolicyRules, Refusal, SpendLimits, Spending, ToolPolicies, Toolbox,
    ask_user::{self, ASK_USER},
    delegate::{self, DELEGATE},
};

/// A named agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// The model that answers.
    pub model: ModelName,
    /// The models that answer when it cannot, in order.
    pub fallbacks: Vec<ModelName>,
    /// The system prompt; may be empty.
    pub system: Arc<str>,
    /// The tools it is shown.
    pub tools: Vec<ToolName>,
    /// Those of them it is shown only once it asked for them with [`crate::FIND_TOOL`]: they are too many for a prompt.
    pub hidden: BTreeSet<ToolName>,
    /// What it may do.
    pub policy: PolicyPreset,
    /// How its model answers.
    pub settings: CallSettings,
    /// What it may spend.
    pub spend: SpendLimits,
    /// The agents it may hand tasks to.
    pub delegates: Vec<AgentName>,
}

impl Agent {
    /// An agent that only talks.
    pub fn new(name: AgentName, model: ModelName) -> Self {
        Self {
            name,
            model,
            fallbacks: Vec::new(),
            system: Arc::from(""),
            tools: Vec::new(),
            hidden: BTreeSet::new(),
            policy: PolicyPreset::Ask,
            settings: CallSettings::default(),
            spend: SpendLimits::default(),
            delegates: Vec::new(),
        }
    }

    /// Whether its model may ask for a tool of this name.
    pub(crate) fn has_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.as_str() == name)
            || (name == DELEGATE && !self.delegates.is_empty())
    }

    /// What a turn writes down about its agent.
    pub fn snapshot(
        &self,
        model: Option<&ModelName>,
        policy: PolicyPreset,
        rules: &PolicyRules,
    ) -> AgentSnapshot {
        AgentSnapshot {
            agent: self.name.clone(),
            model: model.unwrap_or(&self.model).clone(),
            policy_hash: crate::policy::hash(policy, rules),
        }
    }
}

/// Everything turns are made from.
#[derive(Clone)]
pub struct Catalog {
    /// By name.
    pub agents: BTreeMap<AgentName, Arc<Agent>>,
    /// Who answers when a client names nobody.
    pub default_agent: AgentName,
    /// All models.
    pub models: Arc<dyn Models>,
    /// All tools.
    pub tools: Toolbox,
    /// Which of them a namespace may use.
    pub tool_policies: ToolPolicies,
    /// Which calls run, are asked about or refused, whatever an agent's preset says.
    pub policy_rules: Arc<PolicyRules>,
    /// What may be spent, whoever answers.
    pub spending: Spending,
}

impl Catalog {
    /// The agent of this name.
    ///
    /// # Errors
    /// `unprocessable` when there is none.
    pub fn agent(&self, name: &AgentName) -> Result<&Arc<Agent>, Refusal> {
        self.agents.get(name).ok_or_else(|| {
            Refusal::new(
                ErrorCode::Unprocessable,
                format!("there is no agent named {name}; GET /agents lists them"),
            )
        })
    }

    /// Whether the caller may name this model: whose key is narrowed to some agents, the models of those.
    pub fn may_name(&self, caller: &Caller, model: &ModelName) -> bool {
        let mut agents = self.agents.values();
        let has = |agent: &Agent| agent.model == *model || agent.fallbacks.contains(model);
        agents.clone().all(|agent| caller.may_use(&agent.name))
            || agents.any(|agent| caller.may_use(&agent.name) && has(agent))
    }

    /// Every tool an agent may be given, by name: those of the box, and the engine's own.
    pub fn tool_list(&self) -> Vec<ToolSpec> {
        let boxed = self.tools.iter().map(|tool| tool.spec().clone());
        let mut list: Vec<_> = boxed.filter(|spec| spec.name.as_str() != ASK_USER).collect();
        list.extend(ask_user::spec());
        list.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        list
    }

    /// What a model is told of the agent's tools that may be used in a namespace, those that are hidden only where
    /// it found them.
    pub(crate) fn tool_specs(
        &self,
        agent: &Agent,
        namespace: &Namespace,
        found: &HashSet<&str>,
    ) -> Arc<[ToolSpec]> {
        let may = |name: &str| self.tool_policies.allow(namespace, name);
        let is_shown = |name: &&ToolName| !agent.hidden.contains(*name) || found.contains(name.as_str());
        let tools = agent.tools.iter().filter(is_shown);
        let tools = tools.filter(|name| may(name.as_str()) && name.as_str() != DELEGATE);
        let tools = tools.filter_map(|name| match name.as_str() {
            ASK_USER => ask_user::spec(),
            name => self.tools.get(name).map(|tool| tool.spec().clone()),
        });
        tools.chain(delegate::spec(agent).filter(|_| may(DELEGATE))).collect()
    }
}
