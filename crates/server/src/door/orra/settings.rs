//! The door's section of the configuration.

use std::net::SocketAddr;

use moongate_core::{ToolPolicies, ToolPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[doors.orra]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Where it is on the main listener.
    pub prefix: String,
    /// A listener of its own, where its routes are at the root, for example `127.0.0.1:8080`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Who answers when the client names nobody.
    pub agent: String,
    /// A WebSocket may carry its key as `?token=`.
    pub allow_query_token: bool,
    /// Web origins whose pages may call, besides its own. Exact; there is no `*`.
    pub cors_origins: Vec<String>,
    /// Names it answers to besides loopback's and the server's.
    pub allowed_hosts: Vec<String>,
    /// Bytes of a REST body and of a WebSocket message.
    #[schemars(range(min = 1))]
    pub max_body_bytes: usize,
    /// How long `POST /api/chat` waits for its turn.
    #[schemars(range(min = 1, max = 86400))]
    pub chat_secs: u64,
    /// How long an approval waits for somebody.
    #[schemars(range(min = 1, max = 86400))]
    pub approval_secs: u32,
    /// How often a WebSocket is pinged.
    #[schemars(range(min = 1, max = 3600))]
    pub ping_secs: u64,
    /// Inputs that wait.
    pub queue: Queue,
    /// What one key may use.
    pub limits: Limits,
    /// What tools every shared namespace may use.
    pub default_policy: Policy,
    /// What tools a namespace and those beneath it may use: each narrows, none widens.
    pub policies: Vec<NamespacePolicy>,
}

/// Inputs that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Inputs of one namespace, the running one included.
    #[schemars(range(min = 1))]
    pub depth: usize,
    /// How long one may wait for its turn; 0 for as long as it takes.
    #[schemars(range(max = 86400))]
    pub wait_secs: u64,
}

/// What one key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Inputs in a minute.
    #[schemars(range(min = 1))]
    pub inputs_per_minute: u32,
    /// Turns at once; more wait.
    #[schemars(range(min = 1))]
    pub turns_per_key: usize,
    /// WebSockets at once.
    #[schemars(range(min = 1))]
    pub sockets_per_key: usize,
    /// Frames that wait for a client to read them.
    #[schemars(range(min = 1))]
    pub send_frames: usize,
    /// Their bytes.
    #[schemars(range(min = 1))]
    pub send_bytes: usize,
}

/// Which tools may be used: one of the three is given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// All, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Only these; a `*` at the end stands for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// All but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
}

/// All tools, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All tools.
    AllowAll,
    /// No tool.
    DenyAll,
}

/// The policy of a namespace and those beneath it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespacePolicy {
    /// The namespace; `~private` for those that belong to one principal.
    pub namespace: String,
    /// All, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Only these; a `*` at the end stands for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// All but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "/orra".into(),
            listen: None,
            agent: "default".into(),
            allow_query_token: false,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_body_bytes: 1 << 20,
            chat_secs: 300,
            approval_secs: 120,
            ping_secs: 30,
            queue: Queue::default(),
            limits: Limits::default(),
            default_policy: Policy::default(),
            policies: Vec::new(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { depth: 8, wait_secs: 30 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inputs_per_minute: 60,
            turns_per_key: 8,
            sockets_per_key: 32,
            send_frames: 1024,
            send_bytes: 4 << 20,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { mode: Some(Mode::AllowAll), allow: None, deny: None }
    }
}

impl Settings {
    /// What is wrong with the settings, beyond what their types say.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| faults.push((key.to_owned(), message.to_owned()));
        let counts = [
            ("max_body_bytes", self.max_body_bytes as u64),
            ("chat_secs", self.chat_secs),
            ("approval_secs", u64::from(self.approval_secs)),
            ("ping_secs", self.ping_secs),
            ("queue.depth", self.queue.depth as u64),
            ("limits.inputs_per_minute", u64::from(self.limits.inputs_per_minute)),
            ("limits.turns_per_key", self.limits.turns_per_key as u64),
            ("limits.sockets_per_key", self.limits.sockets_per_key as u64),
            ("limits.send_frames", self.limits.send_frames as u64),
            ("limits.send_bytes", self.limits.send_bytes as u64),
        ];
        for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
            fault(key, "0 would stop everything: it has to be at least 1");
        }
        let Policy { mode, allow, deny } = &self.default_policy;
        if one_of(*mode, allow.as_ref(), deny.as_ref()).is_none() {
            fault("default_policy", "give one of mode, allow and deny");
        }
        for policy in &self.policies {
            if one_of(policy.mode, policy.allow.as_ref(), policy.deny.as_ref()).is_none() {
                fault("policies", "give each policy one of mode, allow and deny");
            }
            let is_name = policy.namespace == super::name::PRIVATE
                || super::name::Name::parse(&policy.namespace).is_ok();
            if !is_name {
                let message =
                    format!("{:?} is no namespace: it is like tenant:acme, or ~private", policy.namespace);
                fault("policies", &message);
            }
        }
        faults
    }

    /// What tools may be used where: everywhere, and beneath each namespace that says something.
    pub fn tool_policies(&self) -> ToolPolicies {
        let of = |mode, allow: &Option<Vec<String>>, deny: &Option<Vec<String>>| {
            one_of(mode, allow.as_ref(), deny.as_ref()).unwrap_or(ToolPolicy::DenyAll)
        };
        let Policy { mode, allow, deny } = &self.default_policy;
        let beneath = self.policies.iter().filter_map(|policy| {
            Some((policy.namespace.parse().ok()?, of(policy.mode, &policy.allow, &policy.deny)))
        });
        ToolPolicies::new(of(*mode, allow, deny), beneath)
    }
}

/// The policy that is said in one of three ways; none when it is said in none or several.
fn one_of(mode: Option<Mode>, allow: Option<&Vec<String>>, deny: Option<&Vec<String>>) -> Option<ToolPolicy> {
    match (mode, allow, deny) {
        (Some(Mode::AllowAll), None, None) => Some(ToolPolicy::AllowAll),
        (Some(Mode::DenyAll), None, None) => Some(ToolPolicy::DenyAll),
        (None, Some(allow), None) => Some(ToolPolicy::Allow(allow.clone())),
        (None, None, Some(deny)) => Some(ToolPolicy::Deny(deny.clone())),
        _ => None,
    }
}
