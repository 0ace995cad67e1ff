//! What an agent may do without asking: deny before ask before allow, and no match is ask.

mod rules;

use std::fmt::Write as _;

use moongate_protocol::{Effect, PolicyPreset, Requirement};
use sha2::{Digest, Sha256};

pub use self::rules::{Call, PolicyRule, PolicyRules, ReachPattern, read_call};
use crate::Reach;

/// What the policy says about one call, from the most lenient to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It runs.
    Allow,
    /// A person decides.
    Ask,
    /// It does not run.
    Deny,
}

/// Decides on a call under a preset, by what its tool does to the world and what it reaches for. Fetching from the
/// network changes nothing there, but what is asked for may tell a stranger what the agent knows.
pub fn judge(preset: PolicyPreset, effect: Effect, reach: &Reach) -> Verdict {
    match (preset, effect, reach) {
        (PolicyPreset::Full, ..) => Verdict::Allow,
        (_, Effect::Read, Reach::Host(_)) => Verdict::Ask,
        (_, Effect::Read, _) => Verdict::Allow,
        (PolicyPreset::ReadOnly, ..) => Verdict::Deny,
        (PolicyPreset::WorkspaceWrite, _, Reach::Files(_)) => Verdict::Allow,
        (PolicyPreset::Ask | PolicyPreset::WorkspaceWrite, ..) => Verdict::Ask,
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
pub(crate) fn hash(preset: PolicyPreset, rules: &PolicyRules) -> String {
    let name = match preset {
        PolicyPreset::ReadOnly => "read-only",
        PolicyPreset::Ask => "ask",
        PolicyPreset::WorkspaceWrite => "workspace-write",
        PolicyPreset::Full => "full",
    };
    hex(&Sha256::digest(format!("{name}{}", rules.text())))[..16].to_owned()
}

/// Lower-case hexadecimal text of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
