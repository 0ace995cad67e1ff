//! The JSON Schema of the configuration file.

use serde_json::Value;

use super::file::File;
use crate::exit::Outcome;

/// The schema, as JSON text.
pub(crate) fn schema() -> Outcome<String> {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".into(), "moongate.toml".into());
    let mut schema = schema.to_value();
    leave_out_null(&mut schema);
    Ok(serde_json::to_string_pretty(&schema)?)
}

/// What may be left out is not written as null in TOML, which has none.
fn leave_out_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(leave_out_null),
        Value::Object(fields) => {
            fields.retain(|name, value| name != "default" || !value.is_null());
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    fields.extend(only);
                }
            }
            fields.values_mut().for_each(leave_out_null);
        }
        _ => {}
    }
}
