//! A change of a file, as the model and people are told it.

use std::time::Duration;

use moongate_core::{PlanNote, ToolResult};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use similar::{Algorithm, ChangeTag, TextDiff};

use super::Desk;
use crate::workspace::{FileError, WorkspacePath};

/// Bytes of a change that clients are shown: it is in the log, and nobody reads more.
const DIFF_BYTES: usize = 64 * 1024;
/// Bytes of the texts that are compared at all.
const COMPARED_BYTES: usize = 4 * 1024 * 1024;
/// Time for the shortest change; after it, a longer one is as right.
const TIME: Duration = Duration::from_millis(500);
/// Lines around a change.
const AROUND: usize = 3;

/// What a file held and what it will hold.
pub(super) struct Change<'a> {
    pub(super) path: &'a WorkspacePath,
    /// Nothing when there was no file.
    pub(super) before: Option<&'a [u8]>,
    pub(super) after: &'a str,
}

/// The result's data: the change as clients show it.
#[derive(Serialize)]
struct Shown {
    path: String,
    created: bool,
    added: usize,
    removed: usize,
    /// A unified diff; nothing where what was there is no text or too long to be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// The diff is cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Change<'_> {
    /// The unified diff, with the lines that were added and removed.
    pub(super) fn diff(&self) -> Option<(String, usize, usize)> {
        let before = std::str::from_utf8(self.before.unwrap_or_default()).ok()?;
        if before.len() + self.after.len() > COMPARED_BYTES {
            return None;
        }
        let diff =
            TextDiff::configure().algorithm(Algorithm::Myers).timeout(TIME).diff_lines(before, self.after);
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let (added, removed) = (count(ChangeTag::Insert), count(ChangeTag::Delete));
        let name = self.path.shown();
        let from = if self.before.is_some() { format!("a/{name}") } else { "/dev/null".into() };
        let text = diff.unified_diff().context_radius(AROUND).header(&from, &format!("b/{name}")).to_string();
        Some((text, added, removed))
    }

    /// What a person is shown before they decide, and what their word is bound to.
    pub(super) fn note(&self) -> PlanNote {
        let path = self.path.shown();
        let unshown = || format!("{path} is replaced; what it holds is no text, or too long to be compared.");
        let preview = self.diff().map_or_else(unshown, |(text, ..)| text);
        PlanNote { preview, operands: self.operands() }
    }

    /// Whether the call may still make it.
    ///
    /// # Errors
    /// When the file is not the one a person saw, or the call was told to stop.
    pub(super) fn check(&self, desk: &Desk) -> Result<(), FileError> {
        desk.go_on()?;
        match desk.operands {
            Some(seen) if seen != self.operands() => Err(FileError::Changed(self.path.shown())),
            _ => Ok(()),
        }
    }

    /// SHA-256 over the file's real path and what it holds.
    fn operands(&self) -> [u8; 32] {
        let path = self.path.text();
        let mut hasher = Sha256::new();
        hasher.update((path.len() as u64).to_be_bytes());
        hasher.update(path);
        hasher.update([u8::from(self.before.is_some())]);
        hasher.update(self.before.unwrap_or_default());
        hasher.finalize().into()
    }

    /// The result of a call that made it.
    pub(super) fn result(&self) -> ToolResult {
        let diff = self.diff();
        let (added, removed) = diff.as_ref().map_or((0, 0), |(_, added, removed)| (*added, *removed));
        let path = self.path.shown();
        let words = match self.before {
            None => format!("Wrote {path}: a new file of {} bytes.", self.after.len()),
            Some(_) if diff.is_some() => format!("Changed {path}: {added} lines added, {removed} removed."),
            Some(_) => format!("Replaced {path}: {} bytes.", self.after.len()),
        };
        let (diff, cut) = diff.map_or((None, false), |(mut text, ..)| {
            let end = text.floor_char_boundary(DIFF_BYTES);
            let cut = end < text.len();
            text.truncate(end);
            (Some(text), cut)
        });
        let shown = Shown { path, created: self.before.is_none(), added, removed, diff, cut };
        ToolResult {
            // A change of plain texts always has a JSON form.
            data: serde_json::to_value(&shown).ok(),
            ..ToolResult::ok(words)
        }
    }
}
