//! The configuration as clients see and change it. Where it is kept the server does not know.

use moongate_core::{Caller, Scope};
use moongate_protocol::ErrorCode;
use serde::Serialize;

use crate::{
    App,
    audit::audit,
    caller::Authenticated,
    guard::Client,
    reply::{Answer, Failure},
};

/// A value in force, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its path of keys, as in the file.
    pub key: String,
    /// The value as the file writes it; a secret only says that it is set.
    pub value: String,
    /// A line of a file, a variable, a flag, or `default`.
    pub from: String,
}

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// Several of one kind.
    List(Vec<SettingValue>),
}

/// A wish for one key.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingChange {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// The value; `None` takes earlier changes back, of a table with all that is in it.
    pub value: Option<SettingValue>,
}

impl SettingChange {
    /// Whether it changes what agents may do without a person.
    fn is_policy(&self) -> bool {
        let mut keys = self.path.iter().map(String::as_str);
        match keys.next() {
            Some("agents") => keys.nth(1).is_none_or(|key| key == "policy"),
            Some("policy") | None => true,
            Some(_) => false,
        }
    }
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was so already.
    Same,
    /// It is in force.
    Applied,
    /// It is kept, and in force after a restart.
    Restart,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeFault {
    /// Everything that is wrong with it, each with the key it is about.
    Refused(Vec<String>),
    /// It could not be kept; why is in the log.
    Failed,
}

/// What knows the configuration, keeps its changes and puts them in force.
pub trait Configuration: Send + Sync {
    /// Everything in force, without secrets.
    fn settings(&self) -> Vec<Setting>;

    /// Puts all changes in force, or none; says what became of each. Waits for disks.
    ///
    /// # Errors
    /// With everything that is wrong.
    fn change(&self, changes: &[SettingChange], app: &App) -> Result<Vec<Effect>, ChangeFault>;
}

/// There is none.
impl Configuration for () {
    fn settings(&self) -> Vec<Setting> {
        Vec::new()
    }

    fn change(&self, _: &[SettingChange], _: &App) -> Result<Vec<Effect>, ChangeFault> {
        Err(ChangeFault::Refused(vec!["there is no configuration to change".into()]))
    }
}

/// Changes the configuration for a caller, who has to be allowed to.
pub(crate) async fn change(
    app: &App,
    (caller, client): (&Authenticated, Client),
    changes: Vec<SettingChange>,
) -> Answer<Vec<Effect>> {
    caller.require(Scope::ConfigWrite)?;
    if changes.iter().any(SettingChange::is_policy) {
        caller.require(Scope::PolicyWrite)?;
    }
    let keys: Vec<_> = changes.iter().map(|change| change.path.join(".")).collect();
    let desk = app.clone();
    // A client that leaves does not leave half a change behind: this runs to its end.
    let done = app.tasks().spawn_blocking(move || desk.config().change(&changes, &desk)).await;
    match done {
        Ok(Ok(effects)) => {
            note(app, caller, client, &keys, &effects).await;
            Ok(effects)
        }
        Ok(Err(ChangeFault::Refused(faults))) => Err(Failure::invalid(faults.join("; "))),
        Ok(Err(ChangeFault::Failed)) | Err(_) => {
            Err(Failure::new(ErrorCode::Internal, "the change could not be kept; nothing was changed"))
        }
    }
}

async fn note(app: &App, caller: &Caller, client: Client, keys: &[String], effects: &[Effect]) {
    let changed = keys.iter().zip(effects).filter(|(_, effect)| **effect != Effect::Same);
    let changed: Vec<_> = changed.map(|(key, _)| key.as_str()).collect();
    if !changed.is_empty() {
        audit(app, caller, client, "config.changed", changed.join(" ")).await;
    }
}
