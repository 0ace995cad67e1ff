//! What is heard from a server besides its answers: progress, and that its tools changed. What it asks of us, beyond
//! whether we are there, is refused: nobody here answers for a person or a model.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rmcp::{
    ClientHandler, RoleClient,
    model::{
        ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ErrorCode, ErrorData,
        Implementation, ProgressNotificationParam, ProgressToken,
    },
    service::{NotificationContext, RequestContext},
};
use tokio::sync::{Notify, mpsc};

/// Where the progress of calls is shown, by their tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<HashMap<ProgressToken, mpsc::Sender<String>>>>);

/// Shows one call's progress, as long as it lives.
#[derive(Debug)]
pub(super) struct Shown {
    progress: Progress,
    token: ProgressToken,
}

impl Progress {
    /// Shows what is said of one call.
    pub(super) fn show(&self, token: ProgressToken, output: mpsc::Sender<String>) -> Shown {
        self.calls().insert(token.clone(), output);
        Shown { progress: self.clone(), token }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<ProgressToken, mpsc::Sender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.progress.calls().remove(&self.token);
    }
}

/// Hears one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear {
    pub(super) progress: Progress,
    /// Told when the server says that its tools changed.
    pub(super) changed: Arc<Notify>,
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("moongate", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "elicitation is not supported", None))
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let text = match (&said.message, said.total) {
            (Some(message), _) => format!("{message}\n"),
            (None, Some(total)) => format!("{} of {total}\n", said.progress),
            (None, None) => format!("{}\n", said.progress),
        };
        if let Some(output) = self.progress.calls().get(&said.progress_token) {
            // Live output may be dropped.
            let _full = output.try_send(text);
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}
