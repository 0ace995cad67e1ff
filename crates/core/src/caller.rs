//! Who is asking, and what they may do. An operation takes a `Caller`; only authentication makes one.

use moongate_protocol::{AgentName, KeyId, Namespace, Principal, Tenant};
use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $bit:literal;)*) => {
        /// One right of a key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Scope { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The scope's name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn bit(self) -> u16 {
                match self { $(Self::$name => 1 << $bit,)* }
            }
        }
    };
}

scopes! {
    /// Everything, the other scopes included.
    Admin = "admin", 0;
    /// See sessions.
    SessionsRead = "sessions:read", 1;
    /// Create, change and talk in sessions.
    SessionsWrite = "sessions:write", 2;
    /// Decide on approvals and answer questions.
    ApprovalsDecide = "approvals:decide", 3;
    /// Change policies.
    PolicyWrite = "policy:write", 4;
    /// Make and revoke keys.
    KeysManage = "keys:manage", 5;
    /// Change the configuration.
    ConfigWrite = "config:write", 6;
    /// See usage and cost.
    UsageRead = "usage:read", 7;
    /// See metrics.
    MetricsRead = "metrics:read", 8;
    /// See the audit log.
    AuditRead = "audit:read", 9;
}

impl std::str::FromStr for Scope {
    type Err = moongate_protocol::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|scope| scope.as_str() == text);
        found.ok_or(moongate_protocol::ParseError { kind: "scope", reason: "there is no scope of this name" })
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Whether the set holds `scope`, by itself or because it holds `admin`.
    pub fn allows(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The rights in the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// Whether every right of `other` is allowed by this set.
    pub fn covers(self, other: Self) -> bool {
        other.iter().all(|scope| self.allows(scope))
    }

    /// The bits a store keeps.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// A set from the bits a store kept.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// An authenticated principal with its rights and its limits.
#[derive(Clone, Debug)]
pub struct Caller {
    tenant: Tenant,
    principal: Principal,
    scopes: Scopes,
    limits: CallerLimits,
}

/// What a caller's rights are narrowed to. Empty lists narrow nothing.
#[derive(Clone, Debug, Default)]
pub struct CallerLimits {
    /// The key that was presented; the admin key has none.
    pub key: Option<KeyId>,
    /// Only these agents.
    pub agents: Vec<AgentName>,
    /// Only these namespaces and beneath.
    pub namespaces: Vec<Namespace>,
}

impl Caller {
    /// A caller whose credential was verified. Only authentication may say so: no door and no handler calls
    /// this, and a tidy check holds them to it.
    pub fn authenticated(tenant: Tenant, principal: Principal, scopes: Scopes, limits: CallerLimits) -> Self {
        Self { tenant, principal, scopes, limits }
    }

    /// The gateway itself, for what it finishes when nobody asks: it has no rights over anybody's session.
    pub(crate) fn gateway() -> Self {
        #[expect(clippy::expect_used, reason = "the literals are within the grammars")]
        let (tenant, principal) =
            ("default".parse().expect("a tenant"), GATEWAY.parse().expect("a principal"));
        Self { tenant, principal, scopes: Scopes::default(), limits: CallerLimits::default() }
    }

    /// Behind which wall.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// With which rights.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// The key that was presented; the admin key has none.
    pub fn key(&self) -> Option<KeyId> {
        self.limits.key
    }

    /// Whether `scope` is among the rights.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allows(scope)
    }

    /// Whether the caller may use this agent.
    pub fn may_use(&self, agent: &AgentName) -> bool {
        self.limits.agents.is_empty() || self.limits.agents.contains(agent)
    }

    /// The agents the caller is narrowed to; none when it may use any.
    pub fn agents(&self) -> &[AgentName] {
        &self.limits.agents
    }

    /// Whether the caller may see this namespace.
    pub fn may_enter(&self, namespace: &Namespace) -> bool {
        self.limits.namespaces.is_empty()
            || self.limits.namespaces.iter().any(|allowed| is_beneath(namespace, allowed))
    }

    /// Whether the caller may see only some agents or namespaces.
    pub fn is_narrowed(&self) -> bool {
        !self.limits.agents.is_empty() || !self.limits.namespaces.is_empty()
    }

    /// Whether the caller was granted this namespace or one above it in so many words: a key that is narrowed to
    /// none was granted none.
    pub fn is_granted(&self, namespace: &Namespace) -> bool {
        !self.limits.namespaces.is_empty() && self.may_enter(namespace)
    }

    /// The namespaces the caller was granted; none when it is not narrowed to any.
    pub fn grants(&self) -> &[Namespace] {
        &self.limits.namespaces
    }

    /// Whether the caller sees the sessions of others in its tenant.
    pub fn sees_all_owners(&self) -> bool {
        self.may(Scope::Admin)
    }
}

/// Whether `namespace` is `parent` or beneath it.
pub fn is_beneath(namespace: &Namespace, parent: &Namespace) -> bool {
    if parent.as_str() == EVERYWHERE {
        return true;
    }
    let rest = namespace.as_str().strip_prefix(parent.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// The grant of every namespace.
const EVERYWHERE: &str = "*";
/// The owner of sessions that belong to their namespace. No key has this principal.
pub const SHARED_OWNER: &str = "gateway:shared";

/// Who denies what nobody decided in time.
pub const GATEWAY: &str = "gateway";
/// Who approves where a session does so by itself.
pub const POLICY: &str = "policy";

/// Whether a principal is one of the gateway's own, which no key has.
pub fn is_reserved(principal: &Principal) -> bool {
    [SHARED_OWNER, GATEWAY, POLICY].contains(&principal.as_str())
}

/// The owner of a session that belongs to its namespace.
pub(crate) fn of_its_namespace() -> Principal {
    #[expect(clippy::expect_used, reason = "the literal is within the grammar")]
    SHARED_OWNER.parse().expect("a principal")
}

/// Whether a session with this owner belongs to its namespace.
pub(crate) fn is_of_its_namespace(owner: &Principal) -> bool {
    owner.as_str() == SHARED_OWNER
}
