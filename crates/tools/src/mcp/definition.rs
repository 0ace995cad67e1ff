//! A tool as a server defines it, and the name that says whether the definition is still the same.

use std::fmt::Write as _;

use moongate_protocol::{Effect, ToolName, ToolSpec};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::settings::{BETWEEN, ServerSettings};

/// Longest name providers take.
const NAME_BYTES: usize = 64;
/// Bytes of one tool's description and schema: they are in every prompt.
const DEFINITION_BYTES: usize = 64 * 1024;

/// A tool of a server, as it may become one of ours.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// The server's name for it.
    pub(super) tool: String,
    /// What a model is told.
    pub(super) spec: ToolSpec,
    /// SHA-256 of all that a model and the policy learn of it, in hexadecimal.
    pub(super) hash: String,
}

/// What is hashed: whatever tells a model what the tool does, and the policy what it may do.
#[derive(Serialize)]
struct Hashed<'a> {
    name: &'a str,
    description: &'a str,
    parameters: Value,
    read_only: Option<bool>,
    idempotent: Option<bool>,
}

/// Why a server's tool cannot be one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("its name is empty, too long, or has other characters than letters, digits, '_', '-' and '.'")]
    Name,
    #[error("its description and schema are longer than {DEFINITION_BYTES} bytes")]
    Size,
    #[error("its schema is not that of an object")]
    Schema,
}

impl Definition {
    /// Reads a server's tool.
    ///
    /// # Errors
    /// When it cannot be one of ours.
    pub(super) fn read(server: &ServerSettings, tool: &Tool) -> Result<Self, Unusable> {
        let name = format!("{}{BETWEEN}{}", server.name, tool.name);
        if tool.name.is_empty() || name.len() > NAME_BYTES {
            return Err(Unusable::Name);
        }
        let name: ToolName = name.parse().map_err(|_| Unusable::Name)?;
        let description = tool.description.as_deref().unwrap_or_default();
        let parameters = parameters(&tool.input_schema)?;
        if description.len() + parameters.to_string().len() > DEFINITION_BYTES {
            return Err(Unusable::Size);
        }
        let said = tool.annotations.as_ref();
        let hashed = Hashed {
            name: &tool.name,
            description,
            parameters: sorted(&parameters),
            read_only: said.and_then(|said| said.read_only_hint),
            idempotent: said.and_then(|said| said.idempotent_hint),
        };
        let effect = effect(server.trust_annotations, said);
        let spec = ToolSpec { name, description: description.to_owned(), parameters, effect };
        Ok(Self { tool: tool.name.to_string(), spec, hash: hash(&hashed) })
    }
}

/// The schema of a tool's arguments. Some servers leave out that they are an object.
fn parameters(schema: &JsonObject) -> Result<Value, Unusable> {
    let mut schema = schema.clone();
    let kind = schema.entry("type").or_insert_with(|| "object".into());
    if kind != "object" {
        return Err(Unusable::Schema);
    }
    Ok(Value::Object(schema))
}

/// What a tool does to the world. Who is not believed, or says nothing, may do anything.
fn effect(is_trusted: bool, said: Option<&ToolAnnotations>) -> Effect {
    let said = said.filter(|_| is_trusted);
    match said.map(|said| (said.read_only_hint, said.idempotent_hint)) {
        Some((Some(true), _)) => Effect::Read,
        Some((_, Some(true))) => Effect::Idempotent,
        _ => Effect::Effect,
    }
}

fn hash(hashed: &Hashed<'_>) -> String {
    // Names, texts and JSON values always have a JSON form.
    let bytes = serde_json::to_vec(hashed).unwrap_or_default();
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The same value with its keys in order, so that one definition has one hash.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            Value::Object(
                pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
