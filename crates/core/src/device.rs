//! What is known of a device that has a key of its own.

use moongate_protocol::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

/// The device a key was made for, when it was paired or signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its first key, where this is not it: what the device is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_key: Option<KeyId>,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// The key a browser was signed in with: the browser's own ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in_with: Option<KeyId>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
