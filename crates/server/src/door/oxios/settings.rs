//! The door's section of the configuration, with the contract's defaults.

use std::{net::SocketAddr, path::PathBuf};

use moongate_protocol::AgentName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::configuration::Effect;

/// How a turn of this door proceeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orchestration {
    /// Every input goes straight to its execution.
    #[default]
    Off,
}

/// `[doors.oxios]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Where it is on the main listener.
    pub prefix: String,
    /// A listener of its own, where its routes are at the root, for example `127.0.0.1:4200`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// A folder with a built Oxios UI, served at the root of `listen` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_dir: Option<PathBuf>,
    /// Accept `?token=` on the WebSocket.
    pub allow_query_token: bool,
    /// Web origins whose pages may call, besides its own.
    pub allowed_origins: Vec<String>,
    /// Names it answers to besides loopback's and the server's.
    pub allowed_hosts: Vec<String>,
    /// `/metrics` answers without a key.
    pub public_metrics: bool,
    /// The agent of new sessions; `default` is the gateway's own default agent.
    pub agent: String,
    /// How a turn proceeds. Only `off` for now: the other ways need programs.
    pub orchestration: Orchestration,
    /// Seconds `POST /api/chat` waits for its reply.
    pub http_reply_timeout_secs: u64,
    /// Seconds after which an unanswered approval counts as denied.
    pub approval_timeout_secs: u32,
    /// Waiting inputs a session may have.
    pub max_queued: usize,
    /// Requests a minute for each key; 0 turns the limit off.
    pub requests_per_minute: u32,
    /// Send `reasoning` frames.
    pub send_reasoning: bool,
    /// Lists also show sessions that were opened through other doors.
    pub show_all_sessions: bool,
}

/// `[doors.prune]`: which sessions that were opened through the Oxios door are removed when that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    /// Prune once an hour without being asked.
    pub auto: bool,
    /// Sessions each principal keeps, the newest; 0 for all.
    pub max_sessions: u32,
    /// Hours without activity after which a session goes; 0 for never.
    pub ttl_hours: u32,
}

impl Default for Prune {
    fn default() -> Self {
        Self { auto: false, max_sessions: 100, ttl_hours: 168 }
    }
}

impl Settings {
    /// The agent of new sessions, where it is not the gateway's own default.
    pub(super) fn agent(&self) -> Option<AgentName> {
        self.agent.parse().ok().filter(|_| self.agent != "default")
    }

    /// What a change of the setting at these keys leads to; `None` for those that are the operator's alone.
    pub(in crate::door) fn effect(path: &[&str]) -> Option<Effect> {
        match path {
            ["requests_per_minute"] => Some(Effect::Applied),
            [
                "agent"
                | "approval_timeout_secs"
                | "http_reply_timeout_secs"
                | "max_queued"
                | "send_reasoning"
                | "show_all_sessions",
            ] => Some(Effect::Restart),
            _ => None,
        }
    }

    /// What is wrong, beyond what the types say.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| faults.push((key.to_owned(), message.to_owned()));
        if self.agent.parse::<AgentName>().is_err() {
            fault("agent", "it is no agent's name: letters, digits, - _ .");
        }
        if self.ui_dir.is_some() && self.listen.is_none() {
            fault("ui_dir", "a UI is served at the root of the door's own listener only: set listen too");
        }
        if self.http_reply_timeout_secs == 0 || self.http_reply_timeout_secs > 3_600 {
            fault("http_reply_timeout_secs", "it is from 1 to 3600 seconds");
        }
        if self.approval_timeout_secs == 0 {
            fault("approval_timeout_secs", "it is at least 1 second");
        }
        if self.max_queued == 0 {
            fault("max_queued", "it is at least 1");
        }
        faults
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "/oxios".into(),
            listen: None,
            ui_dir: None,
            allow_query_token: false,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            public_metrics: false,
            agent: "default".into(),
            orchestration: Orchestration::Off,
            http_reply_timeout_secs: 300,
            approval_timeout_secs: 600,
            max_queued: 32,
            requests_per_minute: 600,
            send_reasoning: true,
            show_all_sessions: true,
        }
    }
}
