//! What a server answers to a call, as a model is told it.

use moongate_core::ToolResult;
use moongate_protocol::{Part, ToolOutcome};
use rmcp::{
    ServiceError,
    model::{CallToolResult, ContentBlock, ErrorData, ResourceContents, ServerResult},
    transport::streamable_http_client::{HttpStatusError, StreamableHttpError},
};
use serde_json::Value;

use super::http::HttpFault;

/// Bytes of result data that are kept with a call's result; more is only in the text.
const DATA_BYTES: usize = 64 * 1024;
/// Parts of one answer.
const PARTS: usize = 256;

const UNKNOWN: &str = "Whether the call had an effect is not known.";

/// The result of a call that a server answered, or did not.
pub(super) fn read(answer: Result<ServerResult, ServiceError>) -> ToolResult {
    match answer {
        Ok(ServerResult::CallToolResult(result)) => told(result),
        Ok(ServerResult::InputRequiredResult(_)) => {
            let words = "The MCP server wants to ask a person something first, which is not supported.";
            ToolResult::ended(ToolOutcome::Error, words)
        }
        Ok(_) => unknown("The MCP server answered something that is no result of a call."),
        Err(fault) => failed(&fault),
    }
}

/// A call whose ending nobody knows.
pub(super) fn unknown(why: &str) -> ToolResult {
    ToolResult::ended(ToolOutcome::Unknown, format!("{why} {UNKNOWN}"))
}

fn told(result: CallToolResult) -> ToolResult {
    let outcome = if result.is_error == Some(true) { ToolOutcome::Error } else { ToolOutcome::Ok };
    let mut content: Vec<Part> = result.content.into_iter().take(PARTS).map(part).collect();
    let data = result.structured_content.filter(|data| !data.is_null());
    let text = data.as_ref().map(Value::to_string);
    if content.is_empty() {
        content.extend(text.clone().map(Part::text));
    }
    let is_short = text.is_some_and(|text| text.len() <= DATA_BYTES);
    let mut told = ToolResult::ended(outcome, "");
    told.content = content;
    told.data = data.filter(|_| is_short);
    told
}

fn part(block: ContentBlock) -> Part {
    Part::text(match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => left_out("an image", &image.mime_type, image.data.len()),
        ContentBlock::Audio(audio) => left_out("a sound", &audio.mime_type, audio.data.len()),
        ContentBlock::Resource(resource) => match resource.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { blob, mime_type, .. } => {
                left_out("a file", mime_type.as_deref().unwrap_or("unknown"), blob.len())
            }
            _ => "[something that is not known here]".into(),
        },
        ContentBlock::ResourceLink(link) => format!("[{}]({})", link.name, link.uri),
        _ => "[something that is not known here]".into(),
    })
}

/// What stands for bytes that cannot be shown.
fn left_out(what: &str, kind: &str, base64: usize) -> String {
    format!("[{what} of type {kind}, {} bytes, which cannot be shown]", base64 / 4 * 3)
}

fn failed(fault: &ServiceError) -> ToolResult {
    match fault {
        ServiceError::McpError(error) => ToolResult::ended(ToolOutcome::Error, refusal(error)),
        ServiceError::TransportSend(fault) if was_not_taken(&*fault.error) => {
            ToolResult::ended(ToolOutcome::Error, "The MCP server could not be reached, or refused the call.")
        }
        ServiceError::TransportSend(_) | ServiceError::TransportClosed => {
            unknown("The connection to the MCP server broke while the call ran.")
        }
        _ => unknown("The MCP server did not answer the call."),
    }
}

fn refusal(error: &ErrorData) -> String {
    format!("The MCP server refused the call: {} ({})", error.message, error.code.0)
}

/// Whether the server surely did nothing: it was not reached, or refused the request as a whole.
fn was_not_taken(fault: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(fault);
    while let Some(fault) = next {
        match fault.downcast_ref::<StreamableHttpError<HttpFault>>() {
            Some(
                StreamableHttpError::Client(HttpFault::Connect(_)) | StreamableHttpError::SessionExpired,
            ) => return true,
            Some(StreamableHttpError::HttpStatus(status)) => return is_refusal(status),
            _ => next = fault.source(),
        }
    }
    false
}

fn is_refusal(status: &HttpStatusError) -> bool {
    (400..500).contains(&status.status)
}
