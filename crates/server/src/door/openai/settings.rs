//! The door's section of the configuration.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[doors.openai]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Where it is on the main listener.
    pub prefix: String,
    /// A listener of its own, where its routes are at the root, for example `127.0.0.1:8138`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Web origins whose pages may call, besides its own.
    pub allowed_origins: Vec<String>,
    /// Names it answers to besides loopback's and the server's.
    pub allowed_hosts: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "/openai/v1".into(),
            listen: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}
