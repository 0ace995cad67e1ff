//! Providers: as the file names them, else as the environment's keys suggest.

use std::{collections::BTreeMap, fs};

use moongate_providers::{Auth, CallIds, EffortField, MaxTokensField, Preset, ProviderConfig, Quirks, Wire};
use secrecy::SecretString;

use super::{
    check::Reading,
    fault::At,
    file::{CallIdsIn, EffortIn, File, Kind, MaxTokens, ProviderTable, QuirksTable, SecretPlace, SecretRef},
};

/// Longest key file that is read.
const MAX_KEY_BYTES: usize = 64 * 1024;
/// Names taken by the program itself.
const BUILTIN: &str = "builtin";

impl Reading<'_> {
    /// The providers of the file; without any, those whose keys the environment holds.
    pub(crate) fn providers(&mut self, file: &File) -> Vec<ProviderConfig> {
        if file.providers.is_empty() {
            return Preset::ALL.iter().filter_map(|preset| self.provider_of_environment(preset)).collect();
        }
        let tables: &BTreeMap<String, ProviderTable> = &file.providers;
        tables.iter().filter_map(|(name, table)| self.provider(name, table)).collect()
    }

    fn provider_of_environment(&mut self, preset: &Preset) -> Option<ProviderConfig> {
        let variable = preset.key_variable?;
        let key = self.env.get(variable).map(|key| SecretString::from(key.to_owned()));
        let base = base_variable(preset).and_then(|name| Some((name, self.env.get(name)?.to_owned())));
        if key.is_none() && base.is_none() {
            return None;
        }
        let path = format!("providers.{}", preset.name);
        if key.is_some() {
            self.from(&format!("{path}.key"), variable);
        }
        let Ok(mut config) = preset.config(key) else { return None };
        if let Some((name, text)) = base {
            self.from(&format!("{path}.base_url"), name);
            match with_version(preset, &text).parse() {
                Ok(endpoint) => config.endpoint = endpoint,
                Err(fault) => self.faults.push(At::Variable(name), format!("{text:?}: {fault}")),
            }
            // What stands behind another address speaks the protocol everybody speaks.
            if preset.wire == Wire::OpenAiResponses {
                config.wire = Wire::OpenAiChat;
                config.quirks = Quirks { files: false, ..Quirks::default() };
            }
        }
        Some(config)
    }

    fn provider(&mut self, name: &str, table: &ProviderTable) -> Option<ProviderConfig> {
        let here = ["providers", name];
        if name == BUILTIN || name.parse::<moongate_protocol::AgentName>().is_err() {
            self.fault(&here, format!("a provider cannot be named {name:?}"));
            return None;
        }
        let wanted = table.preset.as_deref();
        let preset = Preset::find(wanted.unwrap_or(name));
        if wanted.is_some() && preset.is_none() {
            let names: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
            let message = format!("there is no such preset; there are {}", names.join(", "));
            self.fault(&["providers", name, "preset"], message);
            return None;
        }
        let key = self.key(name, table, preset);
        let mut config = self.endpoint(name, table, preset)?;
        config.name = name.to_owned();
        config.key = key;
        config.models.clone_from(&table.models);
        apply_quirks(&mut config.quirks, &table.quirks);
        config.headers = self.headers(name, table);
        self.timeouts(name, table, &mut config);
        Some(config)
    }

    fn endpoint(
        &mut self,
        name: &str,
        table: &ProviderTable,
        preset: Option<&Preset>,
    ) -> Option<ProviderConfig> {
        let wire = table.kind.map(wire).or(preset.map(|preset| preset.wire));
        let is_stated = |key| self.document.line(&["providers", name, key]).is_some();
        if wire.is_none() && !is_stated("kind") {
            let message = format!(
                "[providers.{name}] needs `kind` (\"openai-chat\", \"openai-responses\" or \"anthropic\"), or `preset`"
            );
            self.fault(&["providers", name], message);
        }
        let stated = table.base_url.as_deref();
        let Some(url) = stated.or(preset.map(|preset| preset.base_url)) else {
            if !is_stated("base_url") {
                let message = format!("[providers.{name}] needs `base_url`, or `preset`");
                self.fault(&["providers", name], message);
            }
            return None;
        };
        let endpoint = match url.parse() {
            Ok(endpoint) => endpoint,
            Err(fault) => {
                self.fault(&["providers", name, "base_url"], format!("{fault}"));
                return None;
            }
        };
        let wire = wire?;
        // A preset's peculiarities belong to its own address and protocol.
        let preset = preset.filter(|preset| preset.wire == wire);
        let mut config = match preset.map(|preset| preset.config(None)) {
            Some(Ok(config)) => config,
            _ => ProviderConfig::new(name, wire, "http://127.0.0.1".parse().ok()?),
        };
        config.endpoint = endpoint;
        Some(config)
    }

    /// The key the table points at, or the one in the preset's usual variable.
    fn key(&mut self, name: &str, table: &ProviderTable, preset: Option<&Preset>) -> Option<SecretString> {
        let path = ["providers", name, "key"];
        if let Some(place) = &table.key {
            return self.secret(&path, place);
        }
        // A key never goes to another address than the one it was meant for.
        let preset = preset.filter(|_| table.base_url.is_none())?;
        let variable = preset.key_variable?;
        let found = self.env.get(variable).map(|key| SecretString::from(key.to_owned()));
        match &found {
            Some(_) => self.from(&path.join("."), variable),
            None => {
                let message = format!(
                    "[providers.{name}] has no key: set {variable}, or `key = \"env:…\"` or \"file:…\""
                );
                self.fault(&path, message);
            }
        }
        found
    }

    /// The secret in a place; a fault at a path of keys when there is none.
    pub(crate) fn secret(&mut self, path: &[&str], place: &SecretRef) -> Option<SecretString> {
        let found = match &place.0 {
            SecretPlace::Env(name) => {
                let found = self.env.get(name).map(str::to_owned);
                found.ok_or_else(|| format!("the environment variable {name} is not set"))
            }
            SecretPlace::File(file) => match fs::read_to_string(file) {
                Ok(text) if text.len() > MAX_KEY_BYTES => Err(format!("{} is too long", file.display())),
                Ok(text) if text.trim().is_empty() => Err(format!("{} is empty", file.display())),
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
            },
        };
        found.map_err(|message| self.fault(path, message)).ok().map(SecretString::from)
    }

    fn headers(&mut self, name: &str, table: &ProviderTable) -> Vec<(String, SecretString)> {
        let mut headers = Vec::new();
        for (header, value) in &table.headers {
            let path = ["providers", name, "headers", header];
            let value = match value.parse::<SecretRef>() {
                Ok(place) => self.secret(&path, &place),
                Err(_) => Some(SecretString::from(value.clone())),
            };
            if header.parse::<http::HeaderName>().is_err() {
                self.fault(&path, "this is no header's name");
            }
            headers.extend(value.map(|value| (header.clone(), value)));
        }
        headers
    }

    fn timeouts(&mut self, name: &str, table: &ProviderTable, config: &mut ProviderConfig) {
        let (stated, timeouts) = (&table.timeouts, &mut config.timeouts);
        let all = [
            ("connect_secs", stated.connect_secs, &mut timeouts.connect),
            ("header_secs", stated.header_secs, &mut timeouts.header),
            ("idle_secs", stated.idle_secs, &mut timeouts.idle),
            ("total_secs", stated.total_secs, &mut timeouts.total),
        ];
        for (key, secs, timeout) in all {
            if let Some(stated) = self.secs(&["providers", name, "timeouts", key], secs, 1) {
                *timeout = stated;
            }
        }
    }
}

/// The variable that says where a preset's provider is.
fn base_variable(preset: &Preset) -> Option<&'static str> {
    match preset.name {
        "openai" => Some("OPENAI_BASE_URL"),
        "anthropic" => Some("ANTHROPIC_BASE_URL"),
        _ => None,
    }
}

/// Anthropic's own programs write their address without the version.
fn with_version(preset: &Preset, text: &str) -> String {
    let text = text.trim_end_matches('/');
    match preset.wire {
        Wire::Anthropic if !text.ends_with("/v1") => format!("{text}/v1"),
        _ => text.to_owned(),
    }
}

fn wire(kind: Kind) -> Wire {
    match kind {
        Kind::OpenaiChat => Wire::OpenAiChat,
        Kind::OpenaiResponses => Wire::OpenAiResponses,
        Kind::Anthropic => Wire::Anthropic,
    }
}

fn apply_quirks(quirks: &mut Quirks, table: &QuirksTable) {
    if let Some(field) = table.max_tokens_field {
        quirks.max_tokens = match field {
            MaxTokens::MaxTokens => MaxTokensField::MaxTokens,
            MaxTokens::MaxCompletionTokens => MaxTokensField::MaxCompletionTokens,
        };
    }
    if let Some(field) = table.effort_field {
        quirks.effort = match field {
            EffortIn::ReasoningEffort => EffortField::ReasoningEffort,
            EffortIn::Reasoning => EffortField::ReasoningObject,
            EffortIn::None => EffortField::Omit,
        };
    }
    if let Some(ids) = table.call_ids {
        quirks.call_ids = match ids {
            CallIdsIn::Usual => CallIds::Usual,
            CallIdsIn::Nine => CallIds::Nine,
        };
    }
    if let Some(bearer) = table.bearer {
        quirks.auth = if bearer { Auth::Bearer } else { Auth::Usual };
    }
    quirks.usage_option = table.usage_option.unwrap_or(quirks.usage_option);
    quirks.reasoning_back = table.reasoning_back.unwrap_or(quirks.reasoning_back);
    quirks.empty_content = table.empty_content.unwrap_or(quirks.empty_content);
    quirks.cache_key = table.cache_key.unwrap_or(quirks.cache_key);
    quirks.images = table.images.unwrap_or(quirks.images);
    quirks.files = table.files.unwrap_or(quirks.files);
}
