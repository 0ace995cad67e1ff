//! What clients send on the stream, read leniently where the contract is lenient and refused precisely elsewhere.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    chat::{Chat, Words},
    frames::Client,
    ids::Uuid,
};
use crate::{
    reply::{Answer, Failure},
    strict,
};

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Message(Box<Chat>),
    Cancel(Cancel),
    Resume(Resume),
    /// It lives.
    Ping,
}

/// Stop something.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Cancel {
    #[serde(default)]
    pub(super) session_id: Option<String>,
    #[serde(default)]
    pub(super) request_id: Option<String>,
    #[serde(default)]
    pub(super) all: Option<bool>,
}

/// Go on after a frame.
#[derive(Debug, Deserialize)]
pub(super) struct Resume {
    pub(super) last_seq: u64,
    #[serde(default)]
    pub(super) session_id: Option<String>,
    #[serde(default)]
    pub(super) resync: Option<bool>,
}

/// Reads a client's frame; `fixed` is the kind of client the socket's URL names.
pub(super) fn read(text: &str, fixed: Option<Client>) -> Answer<Ask> {
    if let Err(error) = strict::check(text.as_bytes()) {
        let words = match error.classify() {
            serde_json::error::Category::Data => format!("the frame is not acceptable: {error}"),
            _ => "frame is not valid JSON".to_owned(),
        };
        return Err(Failure::invalid(words));
    }
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Err(Failure::invalid("frame is not a JSON object"));
    };
    match fields.get("type").and_then(Value::as_str) {
        Some("cancel") => typed(fields).map(Ask::Cancel),
        Some("resume") => typed(fields).map(Ask::Resume),
        Some("ping") => Ok(Ask::Ping),
        Some("interview_response") => answer(fields, fixed),
        _ => message(fields, fixed),
    }
}

fn typed<T: for<'de> Deserialize<'de>>(fields: Map<String, Value>) -> Answer<T> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Failure::invalid(format!("the frame is not acceptable: {error}")))
}

fn message(fields: Map<String, Value>, fixed: Option<Client>) -> Answer<Ask> {
    let client = fixed.unwrap_or_else(|| client_of(&fields));
    if !fields.get("content").or(fields.get("message")).is_some_and(Value::is_string) {
        return Err(Failure::invalid("content is not a string"));
    }
    let words: Words = typed(fields)?;
    Ok(Ask::Message(Box::new(words.check(client)?)))
}

/// No interview is ever open without a program that asks: the words are an ordinary message then.
fn answer(mut fields: Map<String, Value>, fixed: Option<Client>) -> Answer<Ask> {
    let text = fields.remove("text").filter(Value::is_string);
    let told = || fields.get("answers").and_then(Value::as_array).map(|answers| lines(answers));
    let content = text.or_else(|| told().map(Value::String)).unwrap_or(Value::Null);
    fields.insert("content".to_owned(), content);
    message(fields, fixed)
}

/// One `question → value` line for each answer.
fn lines(answers: &[Value]) -> String {
    let line = |answer: &Value| {
        let question = answer.get("question_id").or(answer.get("id"))?.as_str()?;
        let value = match answer.get("value")? {
            Value::String(value) => value.clone(),
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            _ => return None,
        };
        Some(format!("{question} → {value}"))
    };
    answers.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Old and new UIs contradict each other; a key only one of them sends tells which it is.
fn client_of(fields: &Map<String, Value>) -> Client {
    if fields.contains_key("role") {
        Client::Ui2
    } else if fields.contains_key("project_ids") || fields.contains_key("mount_ids") {
        Client::Ui1
    } else {
        Client::Plain
    }
}

/// An id that has to be a UUID.
pub(super) fn uuid(name: &str, text: Option<&str>) -> Answer<Option<Uuid>> {
    let parsed = text.filter(|text| !text.is_empty()).map(Uuid::parse);
    match parsed {
        Some(None) => Err(Failure::invalid(format!("{name} is not a UUID"))),
        Some(found) => Ok(found),
        None => Ok(None),
    }
}
