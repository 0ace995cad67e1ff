//! The JSON Schema of the configuration file.

use super::file::File;
use crate::exit::Outcome;

/// The schema, as JSON text.
pub(crate) fn schema() -> Outcome<String> {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".into(), "moongate.toml".into());
    Ok(serde_json::to_string_pretty(&schema)?)
}
