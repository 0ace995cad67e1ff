//! What an agent may do without asking: deny before ask before allow, and no match is ask.

use std::fmt::Write as _;

use moongate_protocol::{Effect, PolicyPreset, Requirement};
use sha2::{Digest, Sha256};

/// What the policy says about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Allow,
    /// A person decides.
    Ask,
    /// It does not run.
    Deny,
}

/// Decides on a tool's effect class under a preset.
pub fn judge(preset: PolicyPreset, effect: Effect) -> Verdict {
    match (preset, effect) {
        (PolicyPreset::Full, _) | (_, Effect::Read) => Verdict::Allow,
        (PolicyPreset::ReadOnly, _) => Verdict::Deny,
        (PolicyPreset::Ask | PolicyPreset::WorkspaceWrite, Effect::Idempotent | Effect::Effect) => {
            Verdict::Ask
        }
    }
}

/// What a preset and a tool's own requirement come to: the stricter of the two. What a person is asked by a preset,
/// a session that approves by itself may answer.
pub(crate) fn combine(preset: Verdict, tool: Requirement) -> (Verdict, Requirement) {
    match (preset, tool) {
        (Verdict::Deny, _) => (Verdict::Deny, tool),
        (Verdict::Allow, Requirement::Never) => (Verdict::Allow, tool),
        (Verdict::Ask, Requirement::Never) => (Verdict::Ask, Requirement::UnlessAutoApproved),
        (Verdict::Allow | Verdict::Ask, _) => (Verdict::Ask, tool),
    }
}

/// Names the policy in force, so that a turn can say under which rules it ran.
pub(crate) fn hash(preset: PolicyPreset) -> String {
    let name = match preset {
        PolicyPreset::ReadOnly => "read-only",
        PolicyPreset::Ask => "ask",
        PolicyPreset::WorkspaceWrite => "workspace-write",
        PolicyPreset::Full => "full",
    };
    hex(&Sha256::digest(name))[..16].to_owned()
}

/// Lower-case hexadecimal text of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
