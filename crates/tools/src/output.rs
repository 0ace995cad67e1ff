//! `read_output`: reads on where the result of an earlier call was cut.

use async_trait::async_trait;
use moongate_core::{Grant, READ_OUTPUT, Tool, ToolResult};
use moongate_protocol::{CallId, Effect, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::arguments;

/// Bytes that are shown: below what core would cut.
const SHOWN_BYTES: usize = 60 * 1024;

const DESCRIPTION: &str =
    "Reads on where the result of an earlier call was cut. The cut says which call and offset to give.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The call whose output is read.
    #[schemars(with = "String")]
    call: CallId,
    /// The first byte.
    #[serde(default)]
    offset: usize,
}

/// The tool.
pub(crate) struct ReadOutput {
    spec: ToolSpec,
}

impl ReadOutput {
    pub(crate) fn new() -> Self {
        Self { spec: arguments::spec::<Place>(READ_OUTPUT, DESCRIPTION, Effect::Read) }
    }
}

#[async_trait]
impl Tool for ReadOutput {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        let place: Place = match arguments::read(grant.arguments) {
            Ok(place) => place,
            Err(refused) => return refused,
        };
        let refuse = |words: String| ToolResult::ended(ToolOutcome::Error, words);
        match grant.outputs.read(&place.call).await {
            Ok(Some(bytes)) => ToolResult::ok(piece(&String::from_utf8_lossy(&bytes), place.offset)),
            Ok(None) => refuse(format!("No result of a call {} was cut in this session.", place.call)),
            Err(_) => refuse("The output cannot be read.".into()),
        }
    }
}

fn piece(text: &str, offset: usize) -> String {
    let start = text.floor_char_boundary(offset);
    let end = text.floor_char_boundary(start.saturating_add(SHOWN_BYTES));
    match (start >= text.len(), end < text.len()) {
        (true, _) => format!("[the output that is kept ends at byte {}]", text.len()),
        (false, true) => format!("{}\n[there is more: read on with offset {end}]", &text[start..end]),
        (false, false) => text[start..].to_owned(),
    }
}
