//! What is in force, value by value, with where each comes from. Secrets are never shown.

use moongate_core::OnLimit;
use moongate_protocol::PolicyPreset;
use moongate_providers::ProviderConfig;
use moongate_server::Setting;
use moongate_tools::{SandboxChoice, WorkspaceSettings};

use super::{Config, document::Document, fault::Faults, spend};
use crate::cli::LogFormat;

/// Everything in force, in the order of the file's sections.
pub(crate) fn settings(config: &Config) -> Vec<Setting> {
    let document = Document::parse(&config.texts, &mut Faults::default());
    let mut list = List { config, document: &document, settings: Vec::new() };
    list.add("data", quoted(config.data.display()));
    list.add("default_agent", quoted(&config.agents.default));
    list.server();
    list.add("store.path", quoted(config.store.display()));
    for provider in &config.providers {
        list.provider(provider);
    }
    list.agents();
    list.tools();
    list.mcp();
    list.doors();
    list.limits();
    list.spending();
    let filter = config.log.filter.as_deref().unwrap_or("info");
    list.add("telemetry.log", quoted(filter));
    let format = match config.log.format {
        LogFormat::Plain => "plain",
        LogFormat::Json => "json",
    };
    list.add("telemetry.format", quoted(format));
    for price in config.prices.iter().filter_map(|own| Some((&own.model, own.price.as_ref()?))) {
        let (model, price) = price;
        let shown = format!("{{ input = {}, output = {} }}", usd(price.input.0), usd(price.output.0));
        list.add_at(&["prices", model.as_str()], shown);
    }
    list.settings
}

struct List<'a> {
    config: &'a Config,
    document: &'a Document<'a>,
    settings: Vec<Setting>,
}

impl List<'_> {
    /// Adds the value at a path whose keys hold no dot.
    fn add(&mut self, path: &str, value: impl Into<String>) {
        self.add_at(&path.split('.').collect::<Vec<_>>(), value);
    }

    fn add_at(&mut self, path: &[&str], value: impl Into<String>) {
        let key = path.join(".");
        let stated = self.config.origins.get(&key).cloned();
        let line = || self.document.line(path);
        let from = stated.or_else(line).unwrap_or_else(|| "default".to_owned());
        self.settings.push(Setting { key, value: value.into(), from });
    }

    fn server(&mut self) {
        let server = &self.config.server;
        self.add("server.listen", quoted(server.listen));
        self.add("server.hosts", list_of(&server.hosts));
        self.add("server.origins", list_of(&server.origins));
        if let Some(tls) = &server.tls {
            self.add("server.tls.cert", quoted(tls.cert.display()));
            self.add("server.tls.key", quoted(tls.key.display()));
        }
        self.add("server.behind_proxy", server.behind_proxy.to_string());
        self.add("server.trusted_proxies", list_of(&server.trusted_proxies));
        self.add("server.drain_secs", server.drain.as_secs().to_string());
    }

    fn provider(&mut self, provider: &ProviderConfig) {
        let name = provider.name.as_str();
        self.add_at(&["providers", name, "kind"], quoted(provider.wire.as_str()));
        self.add_at(&["providers", name, "base_url"], quoted(&provider.endpoint));
        let place = self.config.file.providers.get(name).and_then(|table| table.key.as_ref());
        let key = match (place, &provider.key) {
            (Some(place), _) => format!("{} (set)", quoted(place)),
            (None, Some(_)) => "(set)".to_owned(),
            (None, None) => "(none)".to_owned(),
        };
        self.add_at(&["providers", name, "key"], key);
        for (header, _) in &provider.headers {
            self.add_at(&["providers", name, "headers", header], "(set)");
        }
        if !provider.models.is_empty() {
            self.add_at(&["providers", name, "models"], list_of(&provider.models));
        }
        let timeouts = &provider.timeouts;
        let all = [
            ("connect_secs", timeouts.connect),
            ("header_secs", timeouts.header),
            ("idle_secs", timeouts.idle),
            ("total_secs", timeouts.total),
        ];
        for (key, timeout) in all {
            self.add_at(&["providers", name, "timeouts", key], timeout.as_secs().to_string());
        }
    }

    fn tools(&mut self) {
        let workspace = match &self.config.agents.tools.workspace {
            WorkspaceSettings::Shared(path) => quoted(path.display()),
            WorkspaceSettings::PerSession(path) => quoted(format!("{}/SESSION", path.display())),
        };
        self.add("tools.workspace", workspace);
        let (shell, web) = (&self.config.agents.tools.shell, &self.config.agents.tools.web);
        let sandbox = match shell.choice {
            SandboxChoice::Auto => "auto",
            SandboxChoice::Bubblewrap => "bubblewrap",
            SandboxChoice::None => "none",
        };
        self.add("tools.shell.enabled", shell.enabled.to_string());
        self.add("tools.shell.sandbox", quoted(sandbox));
        self.add("tools.shell.timeout_secs", shell.timeout.as_secs().to_string());
        self.add("tools.shell.max_timeout_secs", shell.max_timeout.as_secs().to_string());
        self.add("tools.shell.memory_mb", (shell.limits.memory / (1024 * 1024)).to_string());
        self.add("tools.shell.processes", shell.limits.processes.to_string());
        if !shell.readable.is_empty() {
            self.add(
                "tools.shell.readable",
                list_of(&shell.readable.iter().map(|path| path.display()).collect::<Vec<_>>()),
            );
        }
        self.add("tools.web.enabled", web.enabled.to_string());
        if !web.allow_private.is_empty() {
            self.add("tools.web.allow_private", list_of(&web.allow_private));
        }
    }

    /// What is started is shown in full; what is secret, or may be, only by its name.
    fn mcp(&mut self) {
        for (name, table) in &self.config.file.mcp {
            if let Some(command) = &table.command {
                self.add_at(&["mcp", name, "command"], quoted(command.display()));
                self.add_at(&["mcp", name, "args"], list_of(&table.args));
            }
            if let Some(url) = &table.url {
                self.add_at(&["mcp", name, "url"], quoted(url.split('?').next().unwrap_or_default()));
            }
            for (of, keys) in [("env", &table.env), ("headers", &table.headers)] {
                for key in keys.keys() {
                    self.add_at(&["mcp", name, of, key], "(set)");
                }
            }
            if let Some(tools) = &table.tools {
                self.add_at(&["mcp", name, "tools"], list_of(tools));
            }
            self.add_at(&["mcp", name, "trust_annotations"], table.trust_annotations.to_string());
        }
        for server in &self.config.agents.mcp {
            let all = [("start_secs", server.start), ("call_secs", server.call)];
            for (key, wait) in all {
                self.add_at(&["mcp", &server.name, "timeouts", key], wait.as_secs().to_string());
            }
        }
    }

    fn agents(&mut self) {
        for (name, agent) in &self.config.agents.by_name {
            let name = name.as_str();
            self.add_at(&["agents", name, "model"], quoted(&agent.model));
            if !agent.fallbacks.is_empty() {
                self.add_at(&["agents", name, "fallbacks"], list_of(&agent.fallbacks));
            }
            let theirs = self.config.agents.mcp_tools.get(name).into_iter().flatten();
            let tools: Vec<_> = agent.tools.iter().map(ToString::to_string).chain(theirs.cloned()).collect();
            if !tools.is_empty() {
                self.add_at(&["agents", name, "tools"], list_of(&tools));
            }
            if !agent.delegates.is_empty() {
                self.add_at(&["agents", name, "delegates"], list_of(&agent.delegates));
            }
            let chars = agent.system.chars().count();
            let table = self.config.file.agents.get(name);
            let key =
                if table.is_some_and(|table| table.system_file.is_some()) { "system_file" } else { "system" };
            self.add_at(&["agents", name, key], format!("({chars} characters)"));
            let policy = match agent.policy {
                PolicyPreset::ReadOnly => "read-only",
                PolicyPreset::Ask => "ask",
                PolicyPreset::WorkspaceWrite => "workspace-write",
                PolicyPreset::Full => "full",
            };
            self.add_at(&["agents", name, "policy"], quoted(policy));
            if let Some(temperature) = agent.settings.temperature {
                self.add_at(&["agents", name, "temperature"], temperature.to_string());
            }
            if let Some(tokens) = agent.settings.max_output_tokens {
                self.add_at(&["agents", name, "max_output_tokens"], tokens.to_string());
            }
            for (of, key, value) in spend::shown(&agent.spend) {
                self.add_at(&["agents", name, "spend", of, key], value);
            }
        }
    }

    /// The spend limits there are; most have none.
    fn spending(&mut self) {
        let spending = &self.config.spending;
        let on_limit = match spending.on_limit {
            OnLimit::Fail => "fail",
            OnLimit::Ask => "ask",
        };
        self.add_at(&["spend", "on_limit"], quoted(on_limit));
        for (of, key, value) in spend::shown(&spending.everywhere) {
            self.add_at(&["spend", of, key], value);
        }
        for (key, value) in spend::shown_one(spending.caller) {
            self.add_at(&["spend", "caller", key], value);
        }
        for (namespace, limits) in &spending.beneath {
            for (of, key, value) in spend::shown(limits) {
                self.add_at(&["spend", "namespaces", namespace.as_str(), of, key], value);
            }
        }
    }

    /// Every value of the doors' sections, as the file would write it.
    fn doors(&mut self) {
        match toml::Value::try_from(&self.config.file.doors) {
            Ok(doors) => self.values(&mut vec!["doors".to_owned()], &doors),
            Err(error) => tracing::error!(%error, "the doors' settings cannot be shown"),
        }
    }

    fn values(&mut self, path: &mut Vec<String>, value: &toml::Value) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    path.push(key.clone());
                    self.values(path, value);
                    path.pop();
                }
            }
            value => self.add_at(&path.iter().map(String::as_str).collect::<Vec<_>>(), value.to_string()),
        }
    }

    fn limits(&mut self) {
        let limits = &self.config.limits;
        self.add("limits.turns_per_node", limits.turns_per_node.to_string());
        self.add("limits.turns_per_caller", limits.turns_per_caller.to_string());
        self.add("limits.queue_inputs", limits.queue_inputs.to_string());
        self.add("limits.model_calls_per_turn", limits.model_calls_per_turn.to_string());
        self.add("limits.turn_secs", limits.turn_duration.as_secs().to_string());
        self.add("limits.tool_secs", limits.tool_duration.as_secs().to_string());
        self.add("limits.approval_secs", limits.approval_wait.as_secs().to_string());
        self.add("limits.delegation_depth", limits.delegation_depth.to_string());
        self.add("limits.delegations_per_turn", limits.delegations_per_turn.to_string());
    }
}

fn quoted(value: impl std::fmt::Display) -> String {
    format!("{:?}", value.to_string())
}

fn list_of<T: std::fmt::Display>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

#[expect(clippy::cast_precision_loss, reason = "for show only")]
pub(crate) fn usd(micro: u64) -> f64 {
    micro as f64 / 1e6
}
