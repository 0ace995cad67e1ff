//! Which tools a namespace may use: every policy on the path from the root narrows, none widens.

use moongate_protocol::Namespace;

use crate::is_beneath;

/// Which tools may be used, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolPolicy {
    /// All.
    #[default]
    AllowAll,
    /// None.
    DenyAll,
    /// These only. A name is exact, unless it ends in `*`: then it is a beginning.
    Allow(Vec<String>),
    /// All but these.
    Deny(Vec<String>),
}

impl ToolPolicy {
    /// Whether it lets a tool be used.
    pub fn allows(&self, tool: &str) -> bool {
        let names = |names: &[String]| {
            names.iter().any(|name| match name.strip_suffix('*') {
                Some(beginning) => tool.starts_with(beginning),
                None => tool == name,
            })
        };
        match self {
            Self::AllowAll => true,
            Self::DenyAll => false,
            Self::Allow(allowed) => names(allowed),
            Self::Deny(denied) => !names(denied),
        }
    }
}

/// The tool policies of all namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolPolicies {
    everywhere: ToolPolicy,
    beneath: Vec<(Namespace, ToolPolicy)>,
}

impl ToolPolicies {
    /// A policy for everything, and policies for single namespaces and all beneath them.
    pub fn new(everywhere: ToolPolicy, beneath: impl IntoIterator<Item = (Namespace, ToolPolicy)>) -> Self {
        Self { everywhere, beneath: beneath.into_iter().collect() }
    }

    /// Whether a tool may be used in a namespace: when every policy on the path to it says so.
    pub fn allow(&self, namespace: &Namespace, tool: &str) -> bool {
        let on_path = self.beneath.iter().filter(|(path, _)| is_beneath(namespace, path));
        self.everywhere.allows(tool) && on_path.into_iter().all(|(_, policy)| policy.allows(tool))
    }
}
