//! The form of a question: an object of flat fields with plain values, which any client can show and any person fill
//! in. It is written as JSON Schema, of which it is a small part.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    limits::{QUESTION_CHOICES, QUESTION_FIELDS, QUESTION_FORM_BYTES},
    plan::{is_visible, visible_text},
};

/// The one field of a question without a form.
const PLAIN: &str = "answer";

/// What a field takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Text; one of the choices where there are some.
    #[default]
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What it takes.
    #[serde(rename = "type", default)]
    pub kind: FieldKind,
    /// What it is called, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is to be filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The only texts it takes; any when empty.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// What stands in it before a person fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// The fields of a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Form {
    #[serde(rename = "type", default)]
    kind: Shape,
    #[serde(rename = "$schema", default, skip_serializing)]
    _dialect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    properties: BTreeMap<String, Field>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
    #[serde(default)]
    additional_properties: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    #[default]
    Object,
}

impl Form {
    /// Reads a form a model wrote, with nothing invisible in what people are shown of it.
    ///
    /// # Errors
    /// What is wrong with it, in words a model can act on.
    pub fn read(schema: &Value) -> Result<Self, String> {
        let mut form = Self::deserialize(schema).map_err(|fault| fault.to_string())?;
        if form.properties.is_empty() || form.properties.len() > QUESTION_FIELDS {
            return Err(format!("it has from 1 to {QUESTION_FIELDS} properties"));
        }
        form.additional_properties = false;
        show(&mut form.title);
        show(&mut form.description);
        for (name, field) in &mut form.properties {
            field.check(name)?;
        }
        let mut named = BTreeSet::new();
        form.required.retain(|name| named.insert(name.clone()));
        match form.required.iter().find(|name| !form.properties.contains_key(*name)) {
            Some(name) => Err(format!("it requires {name}, which is no property of it")),
            // As it is shown, which may be longer than what was written: it is read again from there.
            None if form.to_value().to_string().len() > QUESTION_FORM_BYTES => {
                Err(format!("it has more than {QUESTION_FORM_BYTES} bytes"))
            }
            None => Ok(form),
        }
    }

    /// The form of a question that has none: an answer in words.
    pub fn plain() -> Self {
        let properties = [(PLAIN.to_owned(), Field::default())].into();
        Self { properties, required: vec![PLAIN.to_owned()], ..Self::default() }
    }

    /// One yes or no.
    pub(crate) fn yes_or_no(name: &str) -> Self {
        let properties = [(name.to_owned(), Field { kind: FieldKind::Boolean, ..Field::default() })].into();
        Self { properties, required: vec![name.to_owned()], ..Self::default() }
    }

    /// As JSON Schema.
    pub fn to_value(&self) -> Value {
        // Texts and lists always have a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What all of it is about.
    pub fn heading(&self) -> impl Iterator<Item = &str> {
        [&self.title, &self.description].into_iter().flatten().map(String::as_str)
    }

    /// Its fields by name, and whether they have to be filled in: first those that have to, as the model named
    /// them, then the others by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field, bool)> {
        let required = self.required.iter().filter_map(|name| self.properties.get_key_value(name));
        let others = self.properties.iter().filter(|(name, _)| !self.required.contains(name));
        let required = required.map(|(name, field)| (name.as_str(), field, true));
        required.chain(others.map(|(name, field)| (name.as_str(), field, false)))
    }

    /// Whether these are answers to it.
    ///
    /// # Errors
    /// What is wrong with them, in words for a person.
    pub fn check(&self, answers: &Value) -> Result<(), String> {
        let Value::Object(answers) = answers else {
            return Err("the answers are not a JSON object of fields".into());
        };
        if let Some(name) = self.required.iter().find(|name| !answers.contains_key(*name)) {
            return Err(format!("{name} is missing"));
        }
        for (name, value) in answers {
            let Some(field) = self.properties.get(name) else {
                return Err(format!("there is no field named {name}"));
            };
            field.takes(value).map_err(|why| format!("{name} {why}"))?;
        }
        Ok(())
    }
}

impl Field {
    /// Whether it takes this value.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn takes(&self, value: &Value) -> Result<(), String> {
        let fits = match self.kind {
            FieldKind::String => value.is_string(),
            FieldKind::Number => value.is_number(),
            FieldKind::Integer => value.is_i64() || value.is_u64(),
            FieldKind::Boolean => value.is_boolean(),
        };
        if !fits {
            return Err(match self.kind {
                FieldKind::String => "has to be a text".into(),
                FieldKind::Number => "has to be a number".into(),
                FieldKind::Integer => "has to be a whole number".into(),
                FieldKind::Boolean => "has to be true or false".into(),
            });
        }
        let is_choice = |text: &str| self.choices.iter().any(|choice| choice == text);
        match value.as_str() {
            Some(text) if !self.choices.is_empty() && !is_choice(text) => {
                Err(format!("has to be one of {}", self.choices.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// Checks what a model wrote, and makes what people read visible. Names and choices come back as they are
    /// written: nothing may hide in them.
    fn check(&mut self, name: &str) -> Result<(), String> {
        if name.is_empty() || !is_visible(name) || !self.choices.iter().all(|choice| is_visible(choice)) {
            return Err("a property's name or choice is empty or has characters that cannot be seen".into());
        }
        if self.choices.len() > QUESTION_CHOICES {
            return Err(format!("{name} has more than {QUESTION_CHOICES} choices"));
        }
        if !self.choices.is_empty() && self.kind != FieldKind::String {
            return Err(format!("{name} has choices, so its type is string"));
        }
        if let Some(default) = &self.default {
            self.takes(default).map_err(|why| format!("the default of {name} {why}"))?;
            if default.as_str().is_some_and(|text| !is_visible(text)) {
                return Err(format!("the default of {name} has characters that cannot be seen"));
            }
        }
        show(&mut self.title);
        show(&mut self.description);
        Ok(())
    }
}

fn show(text: &mut Option<String>) {
    if let Some(text) = text {
        *text = visible_text(text);
    }
}

/// Answers as a model reads them: the answer alone to a question without a form, else a line for each field.
pub(crate) fn told(form: Option<&Form>, answers: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(fields) = answers.as_object() else { return plain(answers) };
    if form.is_none() {
        return fields.values().map(plain).collect();
    }
    let mut text = String::new();
    for (name, value) in fields {
        let _ = writeln!(text, "{name}: {}", plain(value));
    }
    if text.is_empty() { "The form was sent with nothing filled in.".into() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_flat_and_small_and_nothing_hides_in_it() {
        let long = "x".repeat(QUESTION_FORM_BYTES);
        let hidden = "\u{200b}".repeat(QUESTION_FORM_BYTES / 8);
        let wide: Value =
            (0..=QUESTION_FIELDS).map(|i| (format!("f{i}"), json!({"type": "string"}))).collect();
        let choices: Vec<String> = (0..=QUESTION_CHOICES).map(|i| i.to_string()).collect();
        for wrong in [
            json!(null),
            json!("object"),
            json!({}),
            json!({"type": "array", "properties": {"a": {}}}),
            json!({"properties": {}}),
            json!({"properties": {"a": {"type": "object"}}}),
            json!({"properties": {"a": {"type": ["string", "null"]}}}),
            json!({"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}),
            json!({"properties": {"a": {"$ref": "#"}}}),
            json!({"properties": {"a": {}}, "allOf": []}),
            json!({"properties": {"a": {}}, "required": ["b"]}),
            json!({"properties": {"": {}}}),
            json!({"properties": {"a\u{202e}": {}}}),
            json!({"properties": {"a": {"enum": ["x", "x\u{200b}"]}}}),
            json!({"properties": {"a": {"enum": [1]}}}),
            json!({"properties": {"a": {"type": "integer", "enum": ["1"]}}}),
            json!({"properties": {"a": {"enum": choices}}}),
            json!({"properties": {"a": {"enum": ["x"], "default": "y"}}}),
            json!({"properties": {"a": {"type": "boolean", "default": "yes"}}}),
            json!({"properties": {"a": {"default": "x\u{2066}"}}}),
            json!({"properties": {"a": {"description": long}}}),
            json!({"properties": {"a": {"description": hidden}}}),
            json!({"properties": wide}),
        ] {
            assert!(Form::read(&wrong).is_err(), "{wrong}");
        }
        let form = Form::read(&json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Trip\u{202e}",
            "properties": {"a": {"title": "Where\u{200b}?", "description": "“Here” or\nthere"}, "b": {}, "c": {}},
            "required": ["c", "a", "c"],
            "additionalProperties": true,
        }))
        .unwrap();
        let order: Vec<_> = form.fields().map(|(name, _, required)| (name, required)).collect();
        assert_eq!(order, [("c", true), ("a", true), ("b", false)]);
        assert_eq!(form.heading().collect::<Vec<_>>(), [r"Trip\u{202e}"]);
        let field = &form.properties["a"];
        assert_eq!(field.title.as_deref(), Some(r"Where\u{200b}?"));
        assert_eq!(field.description.as_deref(), Some("“Here” or\nthere"));
        assert_eq!(Form::read(&form.to_value()).unwrap(), Form { _dialect: None, ..form });
    }

    #[test]
    fn answers_are_told_as_they_are_read() {
        let form = Form::read(&json!({"properties": {"a": {}, "b": {"type": "boolean"}}})).unwrap();
        assert_eq!(told(Some(&form), &json!({"a": "x\ny", "b": true})), "a: x\ny\nb: true\n");
        assert_eq!(told(Some(&form), &json!({})), "The form was sent with nothing filled in.");
        assert_eq!(told(None, &json!({"answer": "the blue one"})), "the blue one");
    }
}
