//! Model calls and what they cost.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::{AgentName, MicroUsd, ModelName, Principal, Tokens, TurnId};

payload!(
    /// One model call's tokens and price.
    UsageRecorded {
        /// In which turn.
        turn: TurnId,
        /// The model that answered.
        model: ModelName,
        /// Its tokens.
        tokens: Tokens,
        /// Its cost in millionths of a US dollar; `null` when the price is unknown.
        #[serde(rename = "cost_microusd")]
        cost: Option<MicroUsd>,
        /// Where the price came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price_source: Option<String>,
        /// Who set the turn off, where that is not the session's owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<Principal>,
        /// The agent that asked, where that is not the session's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentName>,
    }
);
