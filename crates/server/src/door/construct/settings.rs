//! The door's section of the configuration.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

use super::hints::shipped;
use crate::door::shared::listen;

/// Longest time a webhook's key is kept: as long as the engine surely keeps it.
const MOST_IDEMPOTENCY_SECS: u64 = 86_400;

/// `[doors.construct]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Where it is on the main listener.
    pub prefix: String,
    /// A listener of its own, where its routes are at the root, for example `localhost:42617`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "listen::read")]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// Who answers in sessions of this door.
    pub agent: String,
    /// `?token=` may carry a key on `/ws/chat`.
    pub allow_query_token: bool,
    /// Web origins whose pages may call, besides its own. Exact; there is no `*`.
    pub allowed_origins: Vec<String>,
    /// Names it answers to besides loopback's and the server's.
    pub allowed_hosts: Vec<String>,
    /// `/approve <id>`, typed as a message, decides.
    pub text_approvals: bool,
    /// What a webhook's caller has to send in `X-Webhook-Secret`; nothing when empty.
    pub webhook_secret: Secret,
    /// The queue of a session.
    pub queue: Queue,
    /// How long things take, in seconds.
    pub timing: Timing,
    /// How much there may be of things.
    pub limits: Bounds,
    /// How new devices get a key.
    pub pairing: Pairing,
    /// What the model is told, for one turn, of the page a person has open.
    pub page_hints: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "/construct".into(),
            listen: None,
            agent: "default".into(),
            allow_query_token: false,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            text_approvals: true,
            webhook_secret: Secret::default(),
            queue: Queue::default(),
            timing: Timing::default(),
            limits: Bounds::default(),
            pairing: Pairing::default(),
            page_hints: shipped(),
        }
    }
}

impl Settings {
    /// Values that would stop the door from working at all: the key, and what to do.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let (timing, limits) = (&self.timing, &self.limits);
        let at_least_one = [
            ("queue.depth", self.queue.depth > 0),
            ("timing.ping_secs", timing.ping_secs > 0),
            ("timing.approval_secs", timing.approval_secs > 0),
            ("timing.webhook_secs", timing.webhook_secs > 0),
            ("timing.idempotency_secs", timing.idempotency_secs > 0),
            ("limits.json_bytes", limits.json_bytes > 0),
            ("limits.upload_bytes", limits.upload_bytes > 0),
            ("limits.inputs_per_minute", limits.inputs_per_minute > 0),
            ("limits.session_upload_bytes", limits.session_upload_bytes > 0),
            ("limits.turns_per_key", limits.turns_per_key > 0),
            ("limits.sockets_per_key", limits.sockets_per_key > 0),
            ("limits.send_frames", limits.send_frames > 0),
            ("limits.send_bytes", limits.send_bytes > 0),
            ("pairing.code_secs", self.pairing.code_secs > 0),
            ("pairing.key_days", self.pairing.key_days > 0),
            ("pairing.max_pending", self.pairing.max_pending > 0),
            ("pairing.max_failed", self.pairing.max_failed > 0),
        ];
        let bad = at_least_one.into_iter().filter(|(_, good)| !good);
        let mut faults: Vec<_> =
            bad.map(|(key, _)| (key.to_owned(), "it is at least 1".to_owned())).collect();
        if timing.idempotency_secs > MOST_IDEMPOTENCY_SECS {
            let message = format!("it is at most {MOST_IDEMPOTENCY_SECS}: keys are not kept for longer");
            faults.push(("timing.idempotency_secs".to_owned(), message));
        }
        faults
    }
}

/// A secret of the configuration. It is never shown.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(from = "String")]
pub struct Secret(#[schemars(with = "String")] SecretString);

impl Secret {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }

    /// Whether this text is it, in a time that does not depend on the difference.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(text).into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.expose_secret().as_bytes())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "(set)" })
    }
}

/// How many inputs a session has, and how long they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Inputs of a session that run or wait.
    pub depth: usize,
    /// Seconds an input waits for its turn; 0 is without a bound.
    pub wait_secs: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { depth: 8, wait_secs: 30 }
    }
}

impl Queue {
    /// How long an input waits; `None` is without a bound.
    pub(crate) fn wait(self) -> Option<Duration> {
        (self.wait_secs > 0).then(|| Duration::from_secs(self.wait_secs))
    }
}

/// How long things take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A socket that said nothing for so long is one that listens.
    pub first_frame_secs: u64,
    /// Between two pings.
    pub ping_secs: u64,
    /// How long a person may take to decide.
    pub approval_secs: u32,
    /// How long an answer nobody saw is kept ready.
    pub late_answer_secs: u64,
    /// How long a webhook's caller waits.
    pub webhook_secs: u64,
    /// How long a webhook's key is kept.
    pub idempotency_secs: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_frame_secs: 5,
            ping_secs: 30,
            approval_secs: 120,
            late_answer_secs: 600,
            webhook_secs: 120,
            idempotency_secs: 86_400,
        }
    }
}

/// How much there may be of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Bytes of a JSON body or a client's frame.
    pub json_bytes: usize,
    /// Bytes of one upload.
    pub upload_bytes: usize,
    /// Bytes of all uploads of a session.
    pub session_upload_bytes: u64,
    /// Inputs of one key in a minute.
    pub inputs_per_minute: u32,
    /// Turns of one key at once; more wait in their sessions' queues.
    pub turns_per_key: usize,
    /// Sockets of one key at once.
    pub sockets_per_key: usize,
    /// Frames that wait for a socket.
    pub send_frames: usize,
    /// Bytes that wait for a socket.
    pub send_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            json_bytes: 1 << 20,
            upload_bytes: 25 << 20,
            session_upload_bytes: 200 << 20,
            inputs_per_minute: 60,
            turns_per_key: 8,
            sockets_per_key: 32,
            send_frames: 1024,
            send_bytes: 4 << 20,
        }
    }
}

/// How new devices get a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pairing {
    /// Whether they can at all.
    pub enabled: bool,
    /// Seconds a code is good for.
    pub code_secs: u64,
    /// Codes that wait at once.
    pub max_pending: usize,
    /// Wrong codes of one address before it is locked out.
    pub max_failed: u32,
    /// Seconds it is locked out for.
    pub lockout_secs: u64,
    /// Days a paired device's key lives.
    pub key_days: u64,
}

impl Default for Pairing {
    fn default() -> Self {
        Self { enabled: true, code_secs: 600, max_pending: 3, max_failed: 5, lockout_secs: 300, key_days: 90 }
    }
}
