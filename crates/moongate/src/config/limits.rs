//! The bounds an operator may change: as they are written, and as they are in force.

use moongate_core::{Limits, limits};
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::Reading;

/// Longest time a person may be waited for: a month.
const MAX_APPROVAL_SECS: u64 = 30 * 24 * 3600;

/// The bounds an operator may change.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsTable {
    /// Turns this node runs at once.
    #[schemars(range(min = 1), extend("default" = limits::TURNS_PER_NODE))]
    pub(crate) turns_per_node: Option<usize>,
    /// Turns one caller runs at once.
    #[schemars(range(min = 1), extend("default" = limits::TURNS_PER_CALLER))]
    pub(crate) turns_per_caller: Option<usize>,
    /// Inputs that may wait in one session.
    #[schemars(range(min = 1), extend("default" = limits::QUEUE_INPUTS))]
    pub(crate) queue_inputs: Option<usize>,
    /// Model calls of one turn.
    #[schemars(range(min = 1), extend("default" = limits::MODEL_CALLS_PER_TURN))]
    pub(crate) model_calls_per_turn: Option<u64>,
    /// Longest turn, in seconds.
    #[schemars(range(min = 1, max = 86400), extend("default" = limits::TURN_DURATION.as_secs()))]
    pub(crate) turn_secs: Option<u64>,
    /// Longest tool call, in seconds.
    #[schemars(range(min = 1, max = 86400), extend("default" = limits::TOOL_DURATION.as_secs()))]
    pub(crate) tool_secs: Option<u64>,
    /// How long a person may take to decide on a call before silence is a no, in seconds.
    #[schemars(range(min = 1, max = 2_592_000), extend("default" = limits::APPROVAL_WAIT.as_secs()))]
    pub(crate) approval_secs: Option<u64>,
    /// Times a task is handed on from agent to agent.
    #[schemars(range(min = 1), extend("default" = limits::DELEGATION_DEPTH))]
    pub(crate) delegation_depth: Option<usize>,
    /// Tasks one turn may hand to other agents.
    #[schemars(range(min = 1), extend("default" = limits::DELEGATIONS_PER_TURN))]
    pub(crate) delegations_per_turn: Option<usize>,
}

impl Reading<'_> {
    /// The bounds in force.
    pub(crate) fn limits(&mut self, table: &LimitsTable) -> Limits {
        let usual = Limits::default();
        let count = |reading: &mut Self, key: &'static str, stated: Option<u64>, usual: u64| match stated {
            Some(0) => {
                reading.fault(&["limits", key], "0 would stop everything: it has to be at least 1");
                usual
            }
            stated => stated.unwrap_or(usual),
        };
        let size = |reading: &mut Self, key: &'static str, stated: Option<usize>, usual: usize| {
            let number = count(reading, key, stated.map(|n| n as u64), usual as u64);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        Limits {
            queue_inputs: size(self, "queue_inputs", table.queue_inputs, usual.queue_inputs),
            turns_per_node: size(self, "turns_per_node", table.turns_per_node, usual.turns_per_node),
            turns_per_caller: size(self, "turns_per_caller", table.turns_per_caller, usual.turns_per_caller),
            model_calls_per_turn: count(
                self,
                "model_calls_per_turn",
                table.model_calls_per_turn,
                usual.model_calls_per_turn,
            ),
            turn_duration: self
                .secs(&["limits", "turn_secs"], table.turn_secs, 1)
                .unwrap_or(usual.turn_duration),
            tool_duration: self
                .secs(&["limits", "tool_secs"], table.tool_secs, 1)
                .unwrap_or(usual.tool_duration),
            approval_wait: self
                .secs_within(&["limits", "approval_secs"], table.approval_secs, 1..=MAX_APPROVAL_SECS)
                .unwrap_or(usual.approval_wait),
            delegation_depth: size(self, "delegation_depth", table.delegation_depth, usual.delegation_depth),
            delegations_per_turn: size(
                self,
                "delegations_per_turn",
                table.delegations_per_turn,
                usual.delegations_per_turn,
            ),
            ..usual
        }
    }
}
