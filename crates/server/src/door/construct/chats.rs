//! A client's sessions in the engine's terms: found, begun, and who answers in them.

use moongate_core::{Caller, NewSession, Refusal, SessionHandle};
use moongate_protocol::{AgentName, Alias, ErrorCode, Overrides};

use super::{Construct, id::ChatId};
use crate::door::shared::{Dialect as _, Door};

/// The agent's name that stands for whichever is the gateway's default.
const DEFAULT_AGENT: &str = "default";

/// Why nobody can answer, in words fit for anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAgent(pub(super) &'static str);

/// The session's name in the store: a client's names are its own, whatever others call theirs.
pub(super) fn alias(caller: &Caller, id: &ChatId) -> Result<Alias, Refusal> {
    let text = format!("{}/{id}", caller.principal());
    text.parse().map_err(|_| Refusal::new(ErrorCode::InvalidRequest, "this session id is too long"))
}

/// The client's name for a session, from its name in the store.
pub(super) fn id_of(caller: &Caller, alias: &Alias) -> Option<ChatId> {
    let rest = alias.as_str().strip_prefix(caller.principal().as_str())?;
    rest.strip_prefix('/')?.parse().ok()
}

impl Door<Construct> {
    /// The client's session, where there is one.
    pub(super) async fn find(&self, caller: &Caller, id: &ChatId) -> Result<Option<SessionHandle>, Refusal> {
        let id = self.canonical(caller, id.clone()).await?;
        self.find_literally(caller, &id).await
    }

    /// What a session is really called: where none has the name a client uses, an old list's storage key is taken
    /// off it.
    pub(super) async fn canonical(&self, caller: &Caller, id: ChatId) -> Result<ChatId, Refusal> {
        let Some(without) = id.without_storage_key() else { return Ok(id) };
        let found = self.find_literally(caller, &id).await?;
        Ok(if found.is_some() { id } else { without })
    }

    async fn find_literally(&self, caller: &Caller, id: &ChatId) -> Result<Option<SessionHandle>, Refusal> {
        match self.app().gateway().by_alias(caller, Construct::NAME, &alias(caller, id)?).await {
            Ok(handle) => Ok(Some(handle)),
            Err(refusal) if refusal.code == ErrorCode::NotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The client's session, begun where there is none.
    pub(super) async fn begin(
        &self,
        caller: &Caller,
        id: &ChatId,
        agent: &AgentName,
        name: Option<String>,
    ) -> Result<SessionHandle, Refusal> {
        let alias = alias(caller, id)?;
        let new = NewSession {
            agent: Some(agent.clone()),
            title: name,
            alias: Some(alias.clone()),
            ..NewSession::default()
        };
        let gateway = self.app().gateway();
        let created = gateway.create(caller, Construct::NAME, new).await?;
        if !created.existed {
            self.births.tell(&alias);
        }
        gateway.session(caller, created.view.id).await
    }

    /// Names the paired device of a key, where it has no name yet.
    pub(super) async fn name_device(&self, caller: &Caller, name: String) {
        let store = self.app().gateway().store();
        let Some(key) = caller.key() else { return };
        let Ok(Some(mut row)) = store.key(key).await else { return };
        let Some(device) = row.device.as_mut().filter(|device| device.name.is_none()) else { return };
        device.name = Some(name);
        if let Err(error) = store.put_key(row).await {
            tracing::warn!(%error, "a device could not be named");
        }
    }

    /// What an input of this door changes for its turn.
    pub(super) fn overrides(&self, hint: Option<&str>) -> Overrides {
        let approval_secs = Some(self.settings.timing.approval_secs);
        let instructions = hint.map(str::to_owned);
        Overrides { approval_secs, instructions, ..Overrides::default() }
    }

    /// Who answers in a new session: the agent the client names, or the configured one.
    pub(super) fn agent(&self, caller: &Caller, asked: Option<&str>) -> Result<AgentName, NoAgent> {
        let catalog = self.app().gateway().catalog();
        let asked = asked.filter(|name| !name.is_empty()).unwrap_or(&self.settings.agent);
        let name = match catalog.agents.contains_key(asked) || asked != DEFAULT_AGENT {
            true => asked.parse().map_err(|_| NoAgent("there is no such agent"))?,
            false => catalog.default_agent.clone(),
        };
        let agent = catalog.agent(&name).map_err(|_| NoAgent("there is no such agent"))?;
        if !caller.may_use(&name) {
            return Err(NoAgent("this key may not use that agent"));
        }
        if catalog.models.get_with_fallbacks(&agent.model, &agent.fallbacks).is_none() {
            return Err(NoAgent("the agent's model is not configured"));
        }
        Ok(name)
    }
}
