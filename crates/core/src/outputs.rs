//! What a session's calls said at length, for the tool that reads on.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use moongate_protocol::{CallId, Event, Seq, SessionId};

use crate::{Store, StoreError, limits::READ_BATCH};

/// The name of the tool that reads on where a result was cut. The model is told of it there, if its agent has it.
pub const READ_OUTPUT: &str = "read_output";

/// The long outputs of one session's calls. A tool reaches those of the session its call runs in, and no others.
#[derive(Clone)]
pub struct Outputs {
    store: Arc<dyn Store>,
    session: SessionId,
}

impl Outputs {
    pub(crate) fn new(store: Arc<dyn Store>, session: SessionId) -> Self {
        Self { store, session }
    }

    /// The whole text a call said, as it is kept; nothing where there is no such call in this session or its result
    /// was not cut.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(&self, call: &CallId) -> Result<Option<Bytes>, StoreError> {
        let mut after = Seq::ZERO;
        let mut found = None;
        loop {
            let records = self.store.read(self.session, after, READ_BATCH).await?;
            let Some(last) = records.last() else { break };
            after = last.position().seq;
            for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
                if let Event::ToolFinished(finished) = &envelope.event
                    && finished.call == *call
                {
                    // A model may name two calls alike; it means the later one.
                    found = finished.output.as_ref().map(|output| output.hash);
                }
            }
        }
        match found {
            Some(hash) => self.store.blob(hash).await,
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("session", &self.session).finish_non_exhaustive()
    }
}
