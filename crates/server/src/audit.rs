//! Writing down what an operator may want to know later.

use moongate_core::{AuditEntry, Caller};

use crate::{App, guard::Client};

/// Writes an audit entry. What was done is done: a store that cannot write it is an error of its own.
pub(crate) async fn audit(app: &App, caller: &Caller, client: Client, action: &str, object: String) {
    let entry = AuditEntry {
        at: app.gateway().ids().now(),
        tenant: caller.tenant().clone(),
        principal: caller.principal().clone(),
        action: action.to_owned(),
        object,
        from: Some(client.0.to_string()),
    };
    if let Err(error) = app.gateway().store().audit(entry).await {
        tracing::error!(%error, action, "an audit entry could not be written");
    }
}
