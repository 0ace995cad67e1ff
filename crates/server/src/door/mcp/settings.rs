//! The door's section of the configuration.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[doors.mcp]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Where it is on the main listener.
    pub prefix: String,
    /// A listener of its own, where its route is at the root, for example `127.0.0.1:8139`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Web origins whose pages may call, besides its own.
    pub allowed_origins: Vec<String>,
    /// Names it answers to besides loopback's and the server's.
    pub allowed_hosts: Vec<String>,
    /// What one key may use.
    pub limits: KeyLimits,
}

/// What one key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyLimits {
    /// Agents asked in a minute; 0 for as many as it likes.
    pub inputs_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "/mcp".into(),
            listen: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            limits: KeyLimits::default(),
        }
    }
}

impl Default for KeyLimits {
    fn default() -> Self {
        // Programs ask here, in loops, and not people.
        Self { inputs_per_minute: 600 }
    }
}
