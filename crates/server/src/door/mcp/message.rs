//! The JSON-RPC messages of the door, typed.

use serde::{Deserialize, Serialize};

use super::fault::{Answer, ErrorInfo, Fault};
use crate::body::parse;

/// The only version of JSON-RPC.
const JSONRPC: &str = "2.0";

/// A request's id: the client's own, said back as it came.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(serde_json::Number),
    Text(String),
}

/// A message of a client, as far as every one is read.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    jsonrpc: String,
    #[serde(default)]
    pub(super) id: Option<Id>,
    /// Absent in an answer.
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Common,
}

/// What every method's parameters may have.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Common {
    #[serde(default, rename = "_meta")]
    pub(super) meta: Meta,
    /// Of a tool, a prompt.
    #[serde(default)]
    pub(super) name: Option<String>,
}

/// What a client says about its request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    /// The revision, where each request says it.
    #[serde(default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(super) version: Option<String>,
    /// What the client can do: nothing that is asked of it here.
    #[serde(default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(super) capabilities: Option<Anything>,
    /// Where progress belongs to, where it is wanted.
    #[serde(default, rename = "progressToken")]
    pub(super) progress: Option<Id>,
}

/// An object nobody looks into.
#[derive(Debug, Deserialize)]
pub(super) struct Anything {}

/// A message whose parameters are a `P`.
#[derive(Debug, Deserialize)]
struct With<P> {
    params: P,
}

impl Message {
    /// Reads a client's message.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn read(bytes: &[u8]) -> Answer<Self> {
        if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
            return Err(Fault::parse());
        }
        let message: Self = parse(bytes).map_err(|failure| Fault::invalid(failure.message()))?;
        if message.jsonrpc != JSONRPC {
            return Err(Fault::invalid("jsonrpc has to be \"2.0\""));
        }
        Ok(message)
    }
}

/// The parameters of a message.
///
/// # Errors
/// When they are others.
pub(super) fn params<P: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Answer<P> {
    let with: With<P> = parse(bytes).map_err(|failure| Fault::params(failure.message()))?;
    Ok(with.params)
}

/// An answer.
#[derive(Debug, Serialize)]
pub(super) struct Reply<R> {
    jsonrpc: &'static str,
    id: Option<Id>,
    #[serde(flatten)]
    outcome: Outcome<R>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<R> {
    Result(R),
    Error(ErrorInfo),
}

impl<R: Serialize> Reply<R> {
    /// What came of a request.
    pub(super) fn result(id: Id, result: R) -> Self {
        Self { jsonrpc: JSONRPC, id: Some(id), outcome: Outcome::Result(result) }
    }
}

impl Reply<()> {
    /// A request was refused.
    pub(super) fn error(id: Option<Id>, error: ErrorInfo) -> Self {
        Self { jsonrpc: JSONRPC, id, outcome: Outcome::Error(error) }
    }
}

/// Progress of a request that is under way.
#[derive(Debug, Serialize)]
pub(super) struct ProgressNote<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: Progress<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    progress_token: &'a Id,
    progress: u64,
    message: &'a str,
}

impl<'a> ProgressNote<'a> {
    /// The step of this number.
    pub(super) fn new(progress_token: &'a Id, progress: u64, message: &'a str) -> Self {
        let params = Progress { progress_token, progress, message };
        Self { jsonrpc: JSONRPC, method: "notifications/progress", params }
    }
}
