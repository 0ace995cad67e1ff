//! The arguments of `moongate keys`.

use clap::{Args, Subcommand};
use moongate_protocol::{AgentName, KeyId, Namespace};

use super::Print;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its secret is shown once, on standard output
    #[command(
        after_help = "Example:\n  moongate keys create --label phone --scope sessions:read --scope sessions:write --expires 90d"
    )]
    Create(KeyArgs),
    /// List keys, newest first
    List(Print),
    /// End a key at once, on open streams too
    Revoke {
        /// Which key
        id: KeyId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// What you call it
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: String,
    /// What it may do; may be given more than once
    #[arg(long, value_name = "SCOPE", default_values = ["sessions:read", "sessions:write"], value_parser = scope)]
    pub(crate) scope: Vec<moongate_core::Scope>,
    /// Only these agents
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Vec<AgentName>,
    /// Only these namespaces and beneath
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Vec<Namespace>,
    /// Only from these networks, for example `10.0.0.0/8`
    #[arg(long, value_name = "CIDR")]
    pub(crate) network: Vec<String>,
    /// When it ends: `90d`, `12h` or `30m`; in a year at the latest
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    pub(crate) expires: Lifetime,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// How long a key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) std::time::Duration);

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let advice = "it is a number with d, h or m, such as 90d";
    let unit = text.chars().next_back().ok_or(advice)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(advice.into()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|_| advice)?;
    Ok(Lifetime(std::time::Duration::from_secs(u64::from(number) * seconds)))
}

fn scope(text: &str) -> Result<moongate_core::Scope, String> {
    let names =
        || moongate_core::Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("the scopes are {}", names()))
}
