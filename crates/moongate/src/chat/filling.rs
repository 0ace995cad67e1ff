//! A question that the person at the terminal answers, field by field.

use moongate_core::{Field, FieldKind, Form};
use moongate_protocol::QuestionId;
use serde_json::{Map, Value};

use crate::terminal::clean;

/// The question, and what was filled in so far.
#[derive(Debug)]
pub(crate) struct Filling {
    pub(crate) question: QuestionId,
    /// What is said before the first field.
    heading: String,
    fields: Vec<(String, Field, bool)>,
    answers: Map<String, Value>,
    /// The field that is asked for.
    at: usize,
    /// It takes an answer in words and has no form.
    is_plain: bool,
}

impl Filling {
    /// Nothing is filled in yet.
    pub(crate) fn new(question: QuestionId, form: Option<&Value>) -> Self {
        let form = form.and_then(|form| Form::read(form).ok());
        let is_plain = form.is_none();
        let form = form.unwrap_or_else(Form::plain);
        let heading = form.heading().map(|line| format!("  {}\n", clean(line))).collect();
        let fields = form.fields().map(|(name, field, required)| (name.to_owned(), field.clone(), required));
        Self { question, heading, fields: fields.collect(), answers: Map::new(), at: 0, is_plain }
    }

    /// What the person is asked for next.
    pub(crate) fn prompt(&self) -> String {
        const STOP: &str = "(Ctrl-C stops the turn)";
        let Some((name, field, required)) = self.fields.get(self.at) else { return String::new() };
        if self.is_plain {
            return format!("  your answer, then Enter {STOP}");
        }
        let heading = if self.at == 0 { self.heading.as_str() } else { "" };
        let mut prompt = format!("{heading}  {}", clean(field.title.as_ref().unwrap_or(name)));
        if let Some(description) = &field.description {
            prompt.push_str(&format!(": {}", clean(description)));
        }
        for (number, choice) in (1..).zip(&field.choices) {
            prompt.push_str(&format!("\n    {number}  {}", clean(choice)));
        }
        let kind = match field.kind {
            FieldKind::String if field.choices.is_empty() => "a text",
            FieldKind::String => "its number",
            FieldKind::Number => "a number",
            FieldKind::Integer => "a whole number",
            FieldKind::Boolean => "y or n",
        };
        let empty = match (&field.default, required) {
            (Some(default), _) => format!("; Enter alone is {default}"),
            (None, true) => String::new(),
            (None, false) => "; Enter alone leaves it out".into(),
        };
        prompt.push_str(&format!("\n  {kind}, then Enter{empty} {STOP}"));
        prompt
    }

    /// Takes a line the person typed; all answers once every field was asked for.
    ///
    /// # Errors
    /// What the field takes, when the line is not it.
    pub(crate) fn take(&mut self, line: &str) -> Result<Option<Value>, String> {
        if let Some((name, field, required)) = self.fields.get(self.at) {
            let line = line.trim();
            let value = match (&field.default, required) {
                (Some(default), _) if line.is_empty() => Some(default.clone()),
                (None, false) if line.is_empty() => None,
                _ if line.is_empty() => return Err("  this has to be filled in".into()),
                _ => Some(typed(field, line).map_err(|why| format!("  this {why}"))?),
            };
            self.answers.extend(value.map(|value| (name.clone(), value)));
            self.at += 1;
        }
        Ok((self.at >= self.fields.len()).then(|| Value::Object(std::mem::take(&mut self.answers))))
    }
}

/// What a person typed into a field.
///
/// # Errors
/// What it takes instead.
pub(crate) fn typed(field: &Field, text: &str) -> Result<Value, String> {
    let value = match field.kind {
        FieldKind::String => Value::from(chosen(field, text)),
        FieldKind::Boolean => match text.to_lowercase().as_str() {
            "y" | "yes" | "true" => Value::from(true),
            "n" | "no" | "false" => Value::from(false),
            _ => Value::Null,
        },
        FieldKind::Number | FieldKind::Integer => serde_json::from_str(text).unwrap_or_default(),
    };
    field.takes(&value).map(|()| value)
}

/// A choice may be typed as it is, or by its number.
fn chosen<'a>(field: &'a Field, text: &'a str) -> &'a str {
    if field.choices.iter().any(|choice| choice == text) {
        return text;
    }
    let place = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    place.and_then(|place| field.choices.get(place)).map_or(text, String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_filled_in_line_by_line() {
        let form = json!({
            "title": "The order",
            "properties": {
                "colour": {"enum": ["red", "blue"], "title": "Colour"},
                "count": {"type": "integer", "default": 1},
                "gift": {"type": "boolean"},
                "note": {"description": "anything else"},
            },
            "required": ["colour", "gift"],
        });
        let mut filling = Filling::new(QuestionId::from_bits(1), Some(&form));
        assert!(filling.prompt().starts_with("  The order\n  Colour\n    1  red\n    2  blue\n  its number"));
        assert!(filling.take("3\n").unwrap_err().contains("red, blue"));
        assert!(filling.take("\n").is_err());
        assert_eq!(filling.take("2\n"), Ok(None));
        assert!(filling.prompt().contains("gift\n  y or n"));
        assert!(filling.take("perhaps").is_err());
        assert_eq!(filling.take("y"), Ok(None));
        assert!(filling.prompt().contains("Enter alone is 1"));
        assert!(filling.take("1.5").is_err());
        assert_eq!(filling.take(""), Ok(None));
        assert!(filling.prompt().contains("anything else") && filling.prompt().contains("leaves it out"));
        assert_eq!(filling.take(""), Ok(Some(json!({"colour": "blue", "count": 1, "gift": true}))));
    }

    #[test]
    fn a_question_without_a_form_takes_a_line() {
        let mut filling = Filling::new(QuestionId::from_bits(1), None);
        assert!(filling.take(" \n").is_err());
        assert_eq!(filling.take("the blue one\n"), Ok(Some(json!({"answer": "the blue one"}))));
    }
}
