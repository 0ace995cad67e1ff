//! Facts about the session itself.

use serde::{Deserialize, Serialize};

use super::{Parent, Terms, payload};
use crate::{AgentName, Alias, Metadata, Namespace, Principal, Seq, SessionId};

payload!(
    /// Who owns the session and what it talks to.
    SessionCreated {
        /// Who created it.
        owner: Principal,
        /// Where it belongs.
        namespace: Namespace,
        /// Which agent answers.
        agent: AgentName,
        /// The client's own name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<Alias>,
        /// What to show in a list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The client's labels.
        #[serde(default, skip_serializing_if = "Metadata::is_empty")]
        metadata: Metadata,
        /// The call it was begun for, where an agent delegated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// What it may do at most, where an agent delegated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<Terms>,
    }
);

payload!(
    /// Only the fields that changed.
    SessionUpdated {
        /// The new title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// All labels, new and kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata>,
        /// Whether the session is put away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archived: Option<bool>,
        /// Which agent answers from the next turn on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentName>,
        /// What the agent may do from the next turn on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<PolicyPreset>,
        /// Whether calls that would wait for a person run without one, from the next call on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auto_approve: Option<bool>,
        /// Who changed it.
        by: Principal,
    }
);

/// A named set of rules for what an agent may do, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PolicyPreset {
    /// Tools that change nothing run; all others are denied.
    ReadOnly,
    /// Tools that change nothing run; a person decides on all others.
    Ask,
    /// As `ask`, and files of the workspace may be changed.
    WorkspaceWrite,
    /// Everything runs.
    Full,
}

payload!(
    /// Where the history before this event came from.
    SessionForked {
        /// The session copied from.
        from: SessionId,
        /// The last event copied. `at` on the wire is every event's time.
        #[serde(rename = "from_seq")]
        at: Seq,
        /// Who forked it.
        by: Principal,
    }
);

payload!(
    /// Who deleted the session.
    SessionDeleted {
        /// Who.
        by: Principal,
    }
);
