//! `view_image`: shows the model an image of the workspace.

use async_trait::async_trait;
use bytes::Bytes;
use moongate_core::{Grant, Reach, Tool, ToolResult, blob_hash};
use moongate_protocol::{BlobRef, Effect, Part, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Desk, reach, run};
use crate::{Workspaces, arguments, workspace::FileError};

/// Largest image, in bytes: with base64 around it, what every provider takes.
const IMAGE_BYTES: u64 = 3_750_000;

const DESCRIPTION: &str = "Shows you an image of the workspace: PNG, JPEG, GIF or WebP.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Image {
    /// The file, relative to the workspace.
    path: String,
}

/// The tool.
pub(super) struct ViewImage {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl ViewImage {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Image>("view_image", DESCRIPTION, Effect::Read), workspaces }
    }
}

#[async_trait]
impl Tool for ViewImage {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        reach(&self.workspaces, arguments)
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        run(&self.workspaces, grant, work).await
    }
}

fn work(desk: &Desk, image: &Image) -> Result<ToolResult, FileError> {
    let path = desk.path(&image.path)?;
    let bytes = desk.workspace.open_file(&path)?.read(&path, IMAGE_BYTES)?;
    let Some(media_type) = media_type(&bytes) else {
        let words = format!("{} is no PNG, JPEG, GIF or WebP image", path.shown());
        return Err(FileError::Refused(words));
    };
    let blob = BlobRef { hash: blob_hash(&bytes), media_type: media_type.into(), bytes: bytes.len() as u64 };
    let words = format!("{}: {media_type}, {} bytes", path.shown(), bytes.len());
    let mut result = ToolResult::ok(words);
    result.content.push(Part::Image { blob });
    result.attachments = Box::new([Bytes::from(bytes)]);
    Ok(result)
}

/// What an image says it is in its first bytes; its name says nothing.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
