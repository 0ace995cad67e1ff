//! How far the node has stopped.

use tokio_util::sync::CancellationToken;

/// How far the node has stopped.
#[derive(Default)]
pub(crate) struct Shutdown {
    /// No new work.
    pub(crate) draining: CancellationToken,
    /// No work.
    pub(crate) stopped: CancellationToken,
}
