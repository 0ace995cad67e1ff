//! What becomes of a tool's result before it is written: its bytes are kept by their hash, and what is too long for the
//! model is cut, and kept whole beside it.

use std::collections::HashSet;

use bytes::Bytes;
use moongate_protocol::{BlobHash, BlobRef, CallId, Part};

use super::Turn;
use crate::{
    READ_OUTPUT, ToolResult,
    limits::{TOOL_ATTACHMENT_BYTES, TOOL_OUTPUT_KEPT_BYTES, TOOL_OUTPUT_SHOWN_BYTES},
};

/// What a long output is, for who fetches it.
const TEXT: &str = "text/plain; charset=utf-8";

/// A result as it is written.
pub(super) struct Kept {
    pub(super) content: Vec<Part>,
    pub(super) truncated: bool,
    /// Where the whole text is, where the content is cut.
    pub(super) output: Option<BlobRef>,
}

impl Turn {
    /// Keeps what a result says beside its words. What cannot be kept is not named: the model is told so.
    pub(super) async fn keep(&self, call: &CallId, result: &mut ToolResult) -> Kept {
        let attachments = std::mem::take(&mut result.attachments);
        let content = std::mem::take(&mut result.content);
        let content = with_kept(content, &self.keep_attachments(attachments).await);
        let output = self.keep_whole(&content).await;
        let reads_on = output.is_some() && self.setting.agent.has_tool(READ_OUTPUT);
        let (content, truncated) = shown(content, reads_on.then_some(call));
        Kept { content, truncated, output }
    }

    async fn keep_attachments(&self, attachments: Box<[Bytes]>) -> HashSet<BlobHash> {
        let mut kept = HashSet::new();
        let mut left = TOOL_ATTACHMENT_BYTES;
        for bytes in attachments {
            let Some(rest) = left.checked_sub(bytes.len()) else { continue };
            left = rest;
            kept.extend(self.put(bytes).await);
        }
        kept
    }

    /// Keeps the whole text where it is too long for the model.
    async fn keep_whole(&self, content: &[Part]) -> Option<BlobRef> {
        let bytes: usize = content.iter().filter_map(Part::as_text).map(str::len).sum();
        if bytes <= TOOL_OUTPUT_SHOWN_BYTES {
            return None;
        }
        let mut text = Part::join_text(content);
        text.truncate(text.floor_char_boundary(TOOL_OUTPUT_KEPT_BYTES));
        let bytes = text.len() as u64;
        let hash = self.put(text.into()).await?;
        Some(BlobRef { hash, media_type: TEXT.into(), bytes })
    }

    async fn put(&self, bytes: Bytes) -> Option<BlobHash> {
        let put = self.store.put_blob(bytes).await;
        put.inspect_err(|error| tracing::warn!(%error, "what a tool answered cannot be kept")).ok()
    }
}

/// The content without what was not kept.
fn with_kept(content: Vec<Part>, kept: &HashSet<BlobHash>) -> Vec<Part> {
    let checked = |part| match part {
        Part::Image { blob } | Part::File { blob, .. } if !kept.contains(&blob.hash) => {
            Part::text(format!("[{}, {} bytes: it could not be kept]", blob.media_type, blob.bytes))
        }
        other => other,
    };
    content.into_iter().map(checked).collect()
}

/// The result as the model is shown it: cut at a character, with a word that it was, and how the rest of the call's
/// output is read where it can be.
pub(crate) fn shown(content: Vec<Part>, read_on: Option<&CallId>) -> (Vec<Part>, bool) {
    let mut left = TOOL_OUTPUT_SHOWN_BYTES;
    let mut before = 0;
    let mut truncated = false;
    let cut = |part| match part {
        Part::Text { text } if text.len() > left => {
            let end = text.floor_char_boundary(left);
            let how = read_on.filter(|_| !truncated).map_or_else(String::new, |call| {
                let offset = before + end;
                format!("; {READ_OUTPUT} reads on with call \"{call}\" and offset {offset}")
            });
            let note = format!("{}\n[cut: {} more bytes{how}]", &text[..end], text.len() - end);
            (left, truncated) = (0, true);
            Part::Text { text: note }
        }
        Part::Text { text } => {
            left -= text.len();
            before += text.len();
            Part::Text { text }
        }
        other => other,
    };
    let content = content.into_iter().map(cut).collect();
    (content, truncated)
}
