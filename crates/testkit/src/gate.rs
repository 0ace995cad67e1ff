//! A place a scripted model, tool or store stops at until the test lets it go on.

use tokio_util::sync::CancellationToken;

/// A gate that is closed until it is opened, once. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    reached: CancellationToken,
    opened: CancellationToken,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until somebody stands before the gate.
    pub async fn reached(&self) {
        self.reached.cancelled().await;
    }

    /// Whether somebody stood before the gate.
    pub fn was_reached(&self) -> bool {
        self.reached.is_cancelled()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.opened.cancel();
    }

    /// Says that somebody is here and waits until the gate is open.
    pub async fn pass(&self) {
        self.reached.cancel();
        self.opened.cancelled().await;
    }
}
