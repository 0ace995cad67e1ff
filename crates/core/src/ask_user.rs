//! The tool an agent asks people with. It is no tool like others: the call waits for somebody's answer.

use moongate_protocol::{Effect, ToolName, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Form, limits::QUESTION_BYTES, plan::visible_text};

/// Its name, which no other tool can have.
pub const ASK_USER: &str = "ask_user";

const DESCRIPTION: &str = "Asks the people you work for something and waits for the answer, which may take hours. Ask \
     only what you cannot find out yourself, all of it at once.";
const ABOUT_FORM: &str = "What is to be filled in, as JSON Schema: an object with properties of type string (with \
     enum for a choice), number, integer or boolean, each with title, description and default where that helps, and \
     required. Leave it out for an answer in words.";

/// What the model asks.
#[derive(Debug)]
pub(crate) struct Inquiry {
    /// In words, nothing in them invisible.
    pub(crate) text: String,
    pub(crate) form: Option<Form>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    question: String,
    #[serde(default)]
    form: Option<Value>,
}

impl Inquiry {
    /// Reads a call's arguments.
    ///
    /// # Errors
    /// What is wrong with them, in words a model can act on.
    pub(crate) fn read(arguments: &Value) -> Result<Self, String> {
        let Arguments { question, form } = Arguments::deserialize(arguments)
            .map_err(|fault| format!("The arguments cannot be used: {fault}."))?;
        if question.trim().is_empty() {
            return Err("The argument question cannot be used: it says nothing.".into());
        }
        let text = visible_text(&question);
        if text.len() > QUESTION_BYTES {
            return Err(format!(
                "The argument question cannot be used: it has more than {QUESTION_BYTES} bytes."
            ));
        }
        let form = form.map(|form| Form::read(&form)).transpose();
        let form = form.map_err(|fault| format!("The argument form cannot be used: {fault}."))?;
        Ok(Self { text, form })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schema {
    r#type: &'static str,
    properties: Properties,
    required: [&'static str; 1],
    additional_properties: bool,
}

#[derive(Serialize)]
struct Properties {
    question: Property,
    form: Property,
}

#[derive(Serialize)]
struct Property {
    r#type: &'static str,
    description: &'static str,
}

/// What a model is told of it. The policy does not ask about it: it changes nothing, and a person answers anyway.
pub(crate) fn spec() -> Option<ToolSpec> {
    let name: ToolName = ASK_USER.parse().ok()?;
    let schema = Schema {
        r#type: "object",
        properties: Properties {
            question: Property { r#type: "string", description: "The question, in full." },
            form: Property { r#type: "object", description: ABOUT_FORM },
        },
        required: ["question"],
        additional_properties: false,
    };
    let parameters = serde_json::to_value(schema).ok()?;
    Some(ToolSpec { name, description: DESCRIPTION.into(), parameters, effect: Effect::Read })
}
