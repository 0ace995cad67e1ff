//! Well-known endpoints: what an operator would otherwise have to look up.
//!
//! Endpoints without an address of their own (Azure, a company's proxy) are configured by hand: the address may
//! carry a query (`https://NAME.openai.azure.com/openai/v1?api-version=preview`), and headers such as `api-key`
//! can be set.

use std::time::Duration;

use secrecy::SecretString;

use crate::{
    config::{CallIds, EffortField, MaxTokensField, ProviderConfig, Quirks, Timeouts, Wire},
    http::EndpointFault,
};

/// How long an engine on this machine may take to load its model and read a long prompt.
const LOCAL_HEADER_TIMEOUT: Duration = Duration::from_mins(5);

/// A well-known endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name in configuration and before its models' names.
    pub name: &'static str,
    /// The protocol it speaks.
    pub wire: Wire,
    /// Where it is.
    pub base_url: &'static str,
    /// The environment variable its key usually is in; `None` for engines that need no key.
    pub key_variable: Option<&'static str>,
    /// What is peculiar about it.
    pub quirks: Quirks,
}

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] = PRESETS;

    /// The preset of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Whether it is an engine on one's own machine.
    pub fn is_local(&self) -> bool {
        self.key_variable.is_none()
    }

    /// A provider as the preset describes it.
    pub fn config(&self, key: Option<SecretString>) -> Result<ProviderConfig, EndpointFault> {
        let mut config = ProviderConfig::new(self.name, self.wire, self.base_url.parse()?);
        config.key = key;
        config.quirks = self.quirks;
        if self.is_local() {
            config.timeouts = Timeouts { header: LOCAL_HEADER_TIMEOUT, ..Timeouts::default() };
        }
        Ok(config)
    }
}

const USUAL: Quirks = Quirks::USUAL;

const OPENAI: Quirks =
    Quirks { max_tokens: MaxTokensField::MaxCompletionTokens, cache_key: true, files: true, ..USUAL };

const fn chat(name: &'static str, base_url: &'static str, key: &'static str, quirks: Quirks) -> Preset {
    Preset { name, wire: Wire::OpenAiChat, base_url, key_variable: Some(key), quirks }
}

const fn local(name: &'static str, base_url: &'static str) -> Preset {
    local_with(name, base_url, USUAL)
}

const fn local_with(name: &'static str, base_url: &'static str, quirks: Quirks) -> Preset {
    Preset { name, wire: Wire::OpenAiChat, base_url, key_variable: None, quirks }
}

const PRESETS: &[Preset] = &[
    Preset {
        name: "openai",
        wire: Wire::OpenAiResponses,
        base_url: "https://api.openai.com/v1",
        key_variable: Some("OPENAI_API_KEY"),
        quirks: OPENAI,
    },
    Preset {
        name: "anthropic",
        wire: Wire::Anthropic,
        base_url: "https://api.anthropic.com/v1",
        key_variable: Some("ANTHROPIC_API_KEY"),
        quirks: Quirks { files: true, ..USUAL },
    },
    chat(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        Quirks { effort: EffortField::ReasoningObject, files: true, ..USUAL },
    ),
    chat("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", USUAL),
    chat(
        "groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        Quirks { max_tokens: MaxTokensField::MaxCompletionTokens, ..USUAL },
    ),
    chat(
        "deepseek",
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
        Quirks { reasoning_back: true, images: false, effort: EffortField::Omit, ..USUAL },
    ),
    chat(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        Quirks { call_ids: CallIds::Nine, usage_option: false, effort: EffortField::Omit, ..USUAL },
    ),
    chat("xai", "https://api.x.ai/v1", "XAI_API_KEY", USUAL),
    chat("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", USUAL),
    chat("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", USUAL),
    chat(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        Quirks { max_tokens: MaxTokensField::MaxCompletionTokens, images: false, ..USUAL },
    ),
    chat(
        "moonshot",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
        Quirks { reasoning_back: true, effort: EffortField::Omit, ..USUAL },
    ),
    chat(
        "zai",
        "https://api.z.ai/api/paas/v4",
        "ZAI_API_KEY",
        Quirks { reasoning_back: true, effort: EffortField::Omit, ..USUAL },
    ),
    chat(
        "perplexity",
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        Quirks { usage_option: false, ..USUAL },
    ),
    chat("nvidia", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", USUAL),
    chat("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", USUAL),
    chat("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", USUAL),
    chat("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", USUAL),
    chat(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        Quirks { effort: EffortField::Omit, ..USUAL },
    ),
    local("ollama", "http://127.0.0.1:11434/v1"),
    local("lmstudio", "http://127.0.0.1:1234/v1"),
    local("vllm", "http://127.0.0.1:8000/v1"),
    local("llamacpp", "http://127.0.0.1:8080/v1"),
    local_with("llama-cpp-python", "http://127.0.0.1:8000/v1", Quirks { empty_content: true, ..USUAL }),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_preset_makes_a_provider_and_no_key_leaves_unencrypted() {
        let names: BTreeSet<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), Preset::ALL.len());
        for preset in Preset::ALL {
            let config = preset.config(Some("k".to_owned().into())).unwrap();
            assert_eq!(config.endpoint.is_secure(), !preset.is_local(), "{}", preset.name);
            assert_eq!(Preset::find(preset.name).unwrap().base_url, preset.base_url);
        }
    }
}
