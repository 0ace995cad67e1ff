//! What clients say on a socket.

use moongate_protocol::{ApprovalId, TurnId};
use serde_json::{Map, Value};

use super::{frames::Problem, problems::plain};

/// Longest client's name for a message, in bytes.
const CLIENT_MESSAGE_ID_BYTES: usize = 128;
/// Longest device name, in characters.
const NAME_CHARS: usize = 200;
/// Most capabilities that are looked at.
const CAPABILITIES: usize = 64;
/// How much of an unknown type is repeated, in characters.
const TYPE_CHARS: usize = 64;

/// A client's frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    Connect(Connect),
    Message(Said),
    Decide(Decide),
    Cancel(Which),
    Ping,
}

/// Which turn is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Whichever runs.
    Any,
    This(TurnId),
    /// What was named is no turn.
    None,
}

/// Fields of a wrong form are as if they were not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Connect {
    pub(super) session_id: Option<String>,
    pub(super) device_name: Option<String>,
    pub(super) capabilities: Vec<String>,
}

/// Something a person says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// May be blank when there are attachments.
    pub(super) content: String,
    pub(super) page_context: Option<String>,
    pub(super) attachments: Vec<String>,
    pub(super) client_message_id: Option<String>,
}

/// A decision on an approval.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decide {
    /// `None` when it is no id: then nothing has it.
    pub(super) approval: Option<ApprovalId>,
    pub(super) word: DecisionWord,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecisionWord {
    Approve,
    Deny,
    Always,
}

/// Reads a client's frame.
pub(super) fn read(text: &str) -> Result<Ask, Box<Problem>> {
    let fields: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Box::new(plain("INVALID_JSON", format!("Invalid JSON: {error}"))))?;
    let text_of = |name: &str| fields.get(name).and_then(Value::as_str);
    match text_of("type") {
        Some("connect") => Ok(Ask::Connect(connect(&fields))),
        Some("message") => message(&fields).map(Ask::Message),
        Some("approval_response") => decide(&fields).map(Ask::Decide),
        Some("cancel") => Ok(Ask::Cancel(match text_of("turn_id") {
            Some(id) => id.parse().map_or(Which::None, Which::This),
            None => Which::Any,
        })),
        Some("ping") => Ok(Ask::Ping),
        other => {
            let kind: String = other.unwrap_or_default().chars().take(TYPE_CHARS).collect();
            let message = format!(
                "Unsupported message type \"{kind}\". Send {{\"type\":\"message\",\"content\":\"your text\"}}"
            );
            Err(plain("UNKNOWN_MESSAGE_TYPE", message).into())
        }
    }
}

fn connect(fields: &Map<String, Value>) -> Connect {
    let text_of = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let capabilities = fields.get("capabilities").and_then(Value::as_array);
    let capabilities = capabilities.into_iter().flatten().take(CAPABILITIES);
    Connect {
        session_id: text_of("session_id").filter(|id| !id.is_empty()),
        device_name: text_of("device_name").and_then(|name| clean_name(&name)),
        capabilities: capabilities.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn message(fields: &Map<String, Value>) -> Result<Said, Box<Problem>> {
    let content = fields.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
    let listed = fields.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let attachments: Vec<_> =
        listed.filter_map(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if content.trim().is_empty() && attachments.is_empty() {
        return Err(plain("EMPTY_CONTENT", "Message content cannot be empty").into());
    }
    let page_context = fields.get("page_context").and_then(Value::as_str).map(str::to_owned);
    let client_message_id = fields.get("client_message_id").and_then(Value::as_str);
    let client_message_id =
        client_message_id.filter(|id| !id.is_empty() && id.len() <= CLIENT_MESSAGE_ID_BYTES);
    let client_message_id = client_message_id.map(str::to_owned);
    Ok(Said { content, page_context, attachments, client_message_id })
}

fn decide(fields: &Map<String, Value>) -> Result<Decide, Box<Problem>> {
    let text_of = |name: &str| fields.get(name).and_then(Value::as_str);
    if text_of("kind") == Some("sop") {
        return Err(plain("SOP_DISABLED", "SOP approvals are not supported by this gateway").into());
    }
    let invalid = |message: &str| Box::new(plain("INVALID_APPROVAL_RESPONSE", message));
    let id = text_of("request_id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| invalid("approval_response has no request_id"))?;
    let word = match text_of("decision") {
        Some("approve") => DecisionWord::Approve,
        Some("deny") => DecisionWord::Deny,
        Some("always") => DecisionWord::Always,
        _ => return Err(invalid("decision is approve, deny or always")),
    };
    Ok(Decide { approval: id.parse().ok(), word })
}

/// A name as it is kept: trimmed, without control characters, cut; `None` when nothing is left.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let visible: String = name.chars().filter(|c| !c.is_control()).collect();
    let name: String = visible.trim().chars().take(NAME_CHARS).collect();
    let name = name.trim_end().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(frame: &str) -> (&'static str, String) {
        let problem = read(frame).unwrap_err();
        (problem.code, problem.message)
    }

    #[test]
    fn bad_frames_get_their_codes() {
        assert_eq!(code("hello").0, "INVALID_JSON");
        assert_eq!(code("[]").0, "INVALID_JSON");
        assert_eq!(code("{}").0, "UNKNOWN_MESSAGE_TYPE");
        let words = r#"Unsupported message type "nope". Send {"type":"message","content":"your text"}"#;
        assert_eq!(code(r#"{"type":"nope"}"#), ("UNKNOWN_MESSAGE_TYPE", words.into()));
        for content in [json!(null), json!(""), json!(" \n"), json!(7), json!(["a"])] {
            let frame = json!({ "type": "message", "content": content }).to_string();
            assert_eq!(code(&frame), ("EMPTY_CONTENT", "Message content cannot be empty".into()));
        }
        let frame = json!({ "type": "approval_response", "decision": "approve" }).to_string();
        assert_eq!(code(&frame).0, "INVALID_APPROVAL_RESPONSE");
        let frame = json!({ "type": "approval_response", "request_id": "x", "decision": "?" }).to_string();
        assert_eq!(code(&frame).0, "INVALID_APPROVAL_RESPONSE");
        let frame = json!({ "type": "approval_response", "kind": "sop" }).to_string();
        assert_eq!(code(&frame).0, "SOP_DISABLED");
    }

    #[test]
    fn a_connect_of_any_form_is_one() {
        let frame = json!({
            "type": "connect", "capabilities": "oops", "device_name": " tab\u{7}let ", "session_id": 3,
        });
        let expected = Connect { device_name: Some("tablet".into()), ..Connect::default() };
        assert_eq!(read(&frame.to_string()), Ok(Ask::Connect(expected)));
    }

    #[test]
    fn a_cancel_of_what_is_no_turn_stops_none() {
        assert_eq!(read(r#"{"type":"cancel"}"#), Ok(Ask::Cancel(Which::Any)));
        assert_eq!(read(r#"{"type":"cancel","turn_id":"x"}"#), Ok(Ask::Cancel(Which::None)));
        let turn = TurnId::from_bits(7);
        let frame = json!({ "type": "cancel", "turn_id": turn }).to_string();
        assert_eq!(read(&frame), Ok(Ask::Cancel(Which::This(turn))));
    }

    #[test]
    fn attachments_alone_are_a_message() {
        let frame = json!({ "type": "message", "content": "", "attachments": ["", 3, "file_a"] });
        let Ok(Ask::Message(said)) = read(&frame.to_string()) else { panic!("not a message") };
        assert_eq!(said.attachments, ["file_a"]);
    }
}
