//! What a model's name says about the settings it takes. Unknown names get what newer models take.

use moongate_protocol::Effort;

/// Answer tokens Claude models before the third generation's last may have.
const OLD_CLAUDE_OUTPUT: u32 = 4096;

/// Answer tokens Claude 3.5 may have.
const CLAUDE_3_5_OUTPUT: u32 = 8192;

/// Answer tokens to ask for where the request sets no bound but the wire needs one. Every Claude since 3.7
/// takes it.
const CLAUDE_OUTPUT: u32 = 32_000;

/// Whether OpenAI's model thinks, and so refuses a temperature and gives encrypted reasoning.
pub(crate) fn is_openai_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is_o = |name: &str| {
        let mut chars = name.chars();
        chars.next() == Some('o') && chars.next().is_some_and(|c| c.is_ascii_digit())
    };
    let chat_only = name.contains("chat");
    !chat_only
        && (is_o(name)
            || openai_generation(name).is_some_and(|major| major >= 5)
            || name.starts_with("codex"))
}

fn openai_generation(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("gpt-")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The effort to ask for: only the first GPT-5 knows `minimal`, all others begin at `low`.
pub(crate) fn openai_effort(model: &str, effort: Effort) -> Effort {
    let name = model.rsplit('/').next().unwrap_or(model);
    let knows_minimal = name == "gpt-5" || name.starts_with("gpt-5-");
    if effort == Effort::Minimal && !knows_minimal { Effort::Low } else { effort }
}

/// How a Claude model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaudeThinking {
    /// It does not think.
    None,
    /// It thinks within a number of tokens.
    Budget,
    /// It decides itself, guided by an effort.
    Adaptive,
}

/// How this model is told to think: versions before 3.7 cannot, from 4.6 on it is adaptive.
pub(crate) fn claude_thinking(model: &str) -> ClaudeThinking {
    match claude_version(model) {
        Some(version) if version < (3, 7) => ClaudeThinking::None,
        Some(version) if version < (4, 6) => ClaudeThinking::Budget,
        Some(_) => ClaudeThinking::Adaptive,
        // Another maker's model on this wire: nobody knows its thinking.
        None if !model.contains("claude") => ClaudeThinking::None,
        None => ClaudeThinking::Adaptive,
    }
}

/// Answer tokens to ask for by default.
pub(crate) fn claude_output_tokens(model: &str) -> u32 {
    match claude_version(model) {
        Some(version) if version < (3, 5) => OLD_CLAUDE_OUTPUT,
        Some(version) if version < (3, 7) => CLAUDE_3_5_OUTPUT,
        None if !model.contains("claude") => CLAUDE_3_5_OUTPUT,
        _ => CLAUDE_OUTPUT,
    }
}

/// Tokens to think with, for models that take a number.
pub(crate) fn claude_budget(effort: Effort) -> u32 {
    match effort {
        Effort::Minimal => 1024,
        Effort::Low => 4096,
        Effort::Medium => 10_000,
        Effort::High => 24_000,
    }
}

/// The version in names such as `claude-3-5-haiku-20241022` and `claude-opus-4-20250514`: the first one or two
/// numbers that are no dates.
fn claude_version(model: &str) -> Option<(u32, u32)> {
    let name = &model[model.find("claude")?..];
    let mut numbers = name
        .split(['-', '.', '@', '_', ':'])
        .skip_while(|word| word.parse::<u32>().is_err())
        .map_while(|word| word.parse::<u32>().ok().filter(|n| *n < 1000));
    let major = numbers.next()?;
    Some((major, numbers.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_names_of_every_generation() {
        use ClaudeThinking as T;
        for (model, thinking, output) in [
            ("claude-3-haiku-20240307", T::None, 4096),
            ("claude-3-5-sonnet-20241022", T::None, 8192),
            ("claude-3-7-sonnet-latest", T::Budget, 32_000),
            ("claude-opus-4-20250514", T::Budget, 32_000),
            ("claude-opus-4-1", T::Budget, 32_000),
            ("claude-haiku-4-5-20251001", T::Budget, 32_000),
            ("claude-sonnet-4-6", T::Adaptive, 32_000),
            ("anthropic/claude-opus-4.7", T::Adaptive, 32_000),
            ("claude-sonnet-5", T::Adaptive, 32_000),
            ("claude-something", T::Adaptive, 32_000),
            ("deepseek-chat", T::None, 8192),
        ] {
            assert_eq!((claude_thinking(model), claude_output_tokens(model)), (thinking, output), "{model}");
        }
    }

    #[test]
    fn openai_names() {
        for (model, reasons) in [
            ("gpt-4o", false),
            ("gpt-4.1-mini", false),
            ("gpt-5", true),
            ("gpt-5.2-codex", true),
            ("gpt-5-chat-latest", false),
            ("o3-mini", true),
            ("openai/o4-mini", true),
            ("olmo-2", false),
            ("llama-3", false),
        ] {
            assert_eq!(is_openai_reasoning(model), reasons, "{model}");
        }
        assert_eq!(openai_effort("gpt-5-mini", Effort::Minimal), Effort::Minimal);
        assert_eq!(openai_effort("gpt-5.1", Effort::Minimal), Effort::Low);
    }
}
