//! Agents: as the file names them, else one that answers with the best model there is.

use std::{collections::BTreeMap, fs, sync::Arc};

use moongate_core::{Agent, CallSettings, Toolbox};
use moongate_protocol::{AgentName, ModelName, PolicyPreset};
use moongate_providers::{DEMO_MODEL, ProviderConfig};
use moongate_tools::Settings;

use super::{
    Agents,
    check::Reading,
    fault::At,
    file::{AgentTable, File},
};

/// The agent there is when the file names none.
const DEFAULT_AGENT: &str = "default";
/// Longest system prompt.
const MAX_SYSTEM_BYTES: usize = 1024 * 1024;

/// The model to ask for when nobody says which, by provider: capable and not the most expensive one.
const USUAL_MODELS: &[(&str, &str)] = &[
    ("anthropic", "claude-sonnet-4-6"),
    ("openai", "gpt-5.2"),
    ("gemini", "gemini-2.5-flash"),
    ("openrouter", "anthropic/claude-sonnet-4.6"),
    ("deepseek", "deepseek-chat"),
    ("mistral", "mistral-medium-latest"),
    ("groq", "llama-3.3-70b-versatile"),
    ("xai", "grok-4"),
    ("moonshot", "kimi-k2-thinking"),
    ("zai", "glm-4.7"),
    ("cerebras", "gpt-oss-120b"),
    ("perplexity", "sonar-pro"),
    ("qwen", "qwen3-max"),
];

impl Reading<'_> {
    /// Who answers, and who answers when nobody is named.
    pub(crate) fn agents(
        &mut self,
        file: &File,
        providers: &[ProviderConfig],
        tools: Settings,
    ) -> Option<Agents> {
        let rules = self.policy_rules(&file.policy.rules, &Toolbox::new(moongate_tools::all(&tools)));
        let policy = file.policy.default.unwrap_or(PolicyPreset::Ask);
        let (mut by_name, mut mcp_tools) = (BTreeMap::new(), BTreeMap::new());
        let usual = BTreeMap::from([(DEFAULT_AGENT.to_owned(), AgentTable::default())]);
        let tables = if file.agents.is_empty() { &usual } else { &file.agents };
        let default = self.default_agent(file, tables);
        for (name, table) in tables {
            let Ok(agent_name) = name.parse::<AgentName>() else {
                self.fault(&["agents", name], "a name has 1 to 64 letters, digits, '_', '-' or '.'");
                continue;
            };
            let is_default = default.as_ref() == Some(&agent_name);
            if let Some(agent) = self.agent(&agent_name, table, providers, is_default) {
                let delegates = self.delegates(name, &table.delegates, tables);
                let (tools, theirs) = self.agent_tools(name, &table.tools, (&tools, &file.mcp));
                mcp_tools.insert(agent_name.clone(), theirs);
                let agent = Agent { policy: table.policy.unwrap_or(policy), delegates, tools, ..agent };
                by_name.insert(agent_name, Arc::new(agent));
            }
        }
        let default = default?;
        let is_demo = by_name.get(&default).is_some_and(|agent| agent.model.as_str() == DEMO_MODEL)
            && providers.is_empty();
        Some(Agents { by_name, default, is_demo, rules, tools, mcp: Vec::new(), mcp_tools })
    }

    /// The agents one may hand tasks to: others that there are.
    fn delegates(
        &mut self,
        name: &str,
        wanted: &[String],
        tables: &BTreeMap<String, AgentTable>,
    ) -> Vec<AgentName> {
        let path = ["agents", name, "delegates"];
        let mut delegates = Vec::new();
        for other in wanted {
            match other.parse::<AgentName>() {
                _ if other == name => self.fault(&path, "an agent hands no task to itself: take it out"),
                Ok(other) if tables.contains_key(other.as_str()) => delegates.push(other),
                _ => {
                    let message = format!("there is no agent named {other:?}: add [agents.{other}]");
                    self.fault(&path, message);
                }
            }
        }
        delegates
    }

    fn default_agent(&mut self, file: &File, tables: &BTreeMap<String, AgentTable>) -> Option<AgentName> {
        let only = (tables.len() == 1).then(|| tables.keys().next()).flatten();
        let named = tables.contains_key(DEFAULT_AGENT).then_some(DEFAULT_AGENT);
        let name = match &file.default_agent {
            Some(name) if tables.contains_key(name) => Some(name.as_str()),
            Some(name) => {
                let message =
                    format!("there is no agent named {name:?}: add [agents.{name}], or name another");
                self.fault(&["default_agent"], message);
                None
            }
            None => named.or(only.map(String::as_str)),
        };
        if name.is_none() && file.default_agent.is_none() {
            let message = "several agents and none is named `default`: say which answers by default with \
                           `default_agent = \"NAME\"` at the top of the file";
            self.fault(&["agents"], message);
        }
        // A name that is none was reported where the agents are read.
        name?.parse().ok()
    }

    fn agent(
        &mut self,
        name: &AgentName,
        table: &AgentTable,
        providers: &[ProviderConfig],
        is_default: bool,
    ) -> Option<Agent> {
        let here = name.as_str();
        if table.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            self.fault(&["agents", here, "temperature"], "it has to be 0 to 2");
        }
        if table.max_output_tokens == Some(0) {
            self.fault(&["agents", here, "max_output_tokens"], "it has to be at least 1");
        }
        let mut fallbacks = Vec::new();
        for text in &table.fallbacks {
            match known_model(text, providers) {
                Ok(model) => fallbacks.push(model),
                Err(message) => self.fault(&["agents", here, "fallbacks"], message),
            }
        }
        let spend = self.spend_limits(&["agents", here, "spend"], &table.spend);
        let model = self.model(name, table, providers, is_default);
        let system = self.system(here, table);
        Some(Agent {
            fallbacks,
            system: system.into(),
            spend,
            settings: CallSettings {
                effort: table.effort,
                temperature: table.temperature,
                max_output_tokens: table.max_output_tokens,
            },
            ..Agent::new(name.clone(), model?)
        })
    }

    /// The model that answers: the environment's choice for the default agent, else the file's, else the
    /// usual one of the first provider, else the built-in one.
    fn model(
        &mut self,
        name: &AgentName,
        table: &AgentTable,
        providers: &[ProviderConfig],
        is_default: bool,
    ) -> Option<ModelName> {
        let path = format!("agents.{name}.model");
        if let Some(text) = self.env.get("MOONGATE_MODEL").filter(|_| is_default) {
            self.from(&path, "MOONGATE_MODEL");
            let first = providers.first().map(|provider| format!("{}/{text}", provider.name));
            let found = known_model(text, providers).or_else(|fault| {
                known_model(&first.ok_or_else(|| fault.clone())?, providers).map_err(|_| fault)
            });
            return found.map_err(|fault| self.faults.push(At::Variable("MOONGATE_MODEL"), fault)).ok();
        }
        if let Some(text) = &table.model {
            let found = known_model(text, providers);
            return found.map_err(|fault| self.fault(&["agents", name.as_str(), "model"], fault)).ok();
        }
        if providers.is_empty() {
            return DEMO_MODEL.parse().ok();
        }
        let usual = providers.iter().find_map(usual_model);
        if usual.is_none() {
            let message = format!("say which model answers: `model = \"{}/…\"`", providers[0].name);
            self.fault(&["agents", name.as_str()], message);
        }
        usual
    }

    fn system(&mut self, name: &str, table: &AgentTable) -> String {
        let path = ["agents", name, "system_file"];
        let text = match (&table.system, &table.system_file) {
            (Some(_), Some(_)) => {
                self.fault(&path, "there is `system` already: keep one of them");
                return String::new();
            }
            (Some(text), None) => text.clone(),
            (None, None) => return String::new(),
            (None, Some(file)) => match fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) => {
                    self.fault(&path, format!("{} cannot be read: {error}", file.display()));
                    return String::new();
                }
            },
        };
        if text.len() > MAX_SYSTEM_BYTES {
            self.fault(&path, format!("the system prompt is longer than {MAX_SYSTEM_BYTES} bytes"));
        }
        text
    }
}

/// The model a text names, if there is a provider for it.
fn known_model(text: &str, providers: &[ProviderConfig]) -> Result<ModelName, String> {
    let names = || {
        let names: Vec<_> = providers.iter().map(|provider| provider.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if text == DEMO_MODEL {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let Some((provider, model)) = text.split_once('/') else {
        return Err(format!("{text:?} is no model: it is like \"provider/model\""));
    };
    if !providers.iter().any(|known| known.name == provider) {
        let advice = format!("there are: {}; add [providers.{provider}], or set its key", names());
        return Err(format!("there is no provider named {provider:?} ({advice})"));
    }
    let known = text.parse().ok().filter(|_| !model.is_empty());
    known.ok_or_else(|| format!("{text:?} is no model: it is like \"provider/model\", without spaces"))
}

/// The model to ask a provider for when nobody says which.
fn usual_model(provider: &ProviderConfig) -> Option<ModelName> {
    let usual = USUAL_MODELS.iter().find(|(name, _)| *name == provider.name).map(|(_, model)| *model);
    let model = provider.models.first().map(String::as_str).or(usual)?;
    format!("{}/{model}", provider.name).parse().ok()
}
