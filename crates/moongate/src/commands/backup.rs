//! `moongate backup` and `restore`.

use std::path::Path;

use super::print_line;
use crate::{
    context::Context,
    exit::{Failure, Outcome},
};

/// Copies the store into a new folder, whether or not a server uses it.
///
/// # Errors
/// When there is no store, or the copy cannot be made.
pub(crate) fn backup(dir: &Path, context: &Context) -> Outcome {
    let store = context.config()?.store;
    let made = moongate_store::backup(&store, dir);
    made.map_err(|error| Failure::Failed(format!("no backup was made: {error}")))?;
    print_line(&format!("{} is in {}", store.display(), dir.display()))
}

/// Makes the store's folder from a backup.
///
/// # Errors
/// When there is a store already, or the backup is none.
pub(crate) fn restore(dir: &Path, context: &Context) -> Outcome {
    let store = context.config()?.store;
    let restored = moongate_store::restore(dir, &store)
        .map_err(|error| Failure::Failed(format!("nothing was restored: {error}")))?;
    print_line(&format!("{} sessions are back in {}", restored.sessions, store.display()))
}
