//! The arguments of a tool: a type, the schema the model is told, and the words it gets when they do not fit.

use moongate_core::ToolResult;
use moongate_protocol::{Effect, ToolName, ToolOutcome, ToolSpec};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a model is told of a tool whose arguments are an `A`.
///
/// # Panics
/// When the name is none. It is a constant of this crate, and a test makes every tool.
#[expect(clippy::expect_used, reason = "the name is a constant that a test reads")]
pub(crate) fn spec<A: JsonSchema>(name: &str, description: &str, effect: Effect) -> ToolSpec {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut parameters = settings.into_generator().into_root_schema_for::<A>().to_value();
    if let Value::Object(schema) = &mut parameters {
        // The name of a Rust type tells a model nothing.
        schema.remove("title");
        schema.remove("description");
    }
    let name: ToolName = name.parse().expect("a tool's name");
    ToolSpec { name, description: description.into(), parameters, effect }
}

/// Reads arguments that passed the schema.
///
/// # Errors
/// With the result the model is told, where a type says more than its schema.
pub(crate) fn read<A: DeserializeOwned>(arguments: Value) -> Result<A, ToolResult> {
    serde_json::from_value(arguments).map_err(|fault| {
        ToolResult::ended(ToolOutcome::Error, format!("The arguments cannot be used: {fault}."))
    })
}
