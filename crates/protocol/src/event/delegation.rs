//! Work that an agent hands to another one, in a session of its own.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::{
    AgentName, Allowance, CallId, InputId, ItemId, ModelName, PolicyPreset, SessionId, TurnId, UsageTotal,
};

payload!(
    /// What a delegated session may do at most, whoever speaks in it.
    Terms {
        /// The agents that delegated, the first one first. None of them is delegated to again.
        chain: Vec<AgentName>,
        /// The rules of the turn that delegated.
        policy: PolicyPreset,
        /// What that turn had left to spend.
        #[serde(default, skip_serializing_if = "super::is_default")]
        spend: Allowance,
    }
);

payload!(
    /// The call a session was begun for.
    Parent {
        /// In which session.
        session: SessionId,
        /// In which turn.
        turn: TurnId,
        /// The call.
        call: CallId,
    }
);

payload!(
    /// A session of its own is begun for a call, and the call waits for the end of its first turn.
    DelegationStarted {
        /// In which turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// The call's item.
        item: ItemId,
        /// The session that is begun.
        child: SessionId,
        /// Its first input.
        input: InputId,
        /// Who answers there.
        agent: AgentName,
        /// Its model.
        model: ModelName,
        /// What the agent is told.
        task: String,
        /// What it may do at most.
        terms: Terms,
    }
);

payload!(
    /// The call does not wait any more; its result follows.
    DelegationFinished {
        /// In which turn.
        turn: TurnId,
        /// The call.
        call: CallId,
        /// The session that was begun.
        child: SessionId,
        /// What its turn came to, with all it delegated itself.
        usage: UsageTotal,
    }
);
