//! What a client says to each server and door, as JSON.

use serde::Serialize;

use super::site::Kind;

/// Something that is said.
pub(super) struct Said<'a> {
    /// The session as its door calls it.
    pub(super) session: &'a str,
    pub(super) text: &'a str,
    /// The model to ask for; the server's where there is none.
    pub(super) model: Option<&'a str>,
}

/// What the baseline and the native door read; each reads its own field.
#[derive(Serialize)]
struct Input<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
}

/// What sockets of the compatible doors read.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    /// Construct, and Oxios, which reads the session here.
    Message {
        content: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a str>,
    },
    /// orra.
    Chat { message: &'a str, namespace: &'a str },
    /// orra.
    Subscribe { namespace: &'a str },
    #[serde(rename = "response.create")]
    Create { model: Option<&'a str>, conversation: &'a str, input: &'a str },
}

/// A chat completion that is streamed.
#[derive(Serialize)]
struct Completion<'a> {
    model: Option<&'a str>,
    stream: bool,
    messages: [Message<'a>; 1],
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// A response that is streamed.
#[derive(Serialize)]
struct Response<'a> {
    model: Option<&'a str>,
    stream: bool,
    conversation: &'a str,
    input: &'a str,
}

/// What is said, as the body of a request or as a socket's frame.
pub(super) fn input(kind: Kind, over_socket: bool, said: &Said<'_>) -> serde_json::Result<String> {
    let Said { session, text, model } = *said;
    match kind {
        Kind::Baseline => {
            let session = over_socket.then_some(session);
            serde_json::to_string(&Input { kind: None, session, input: Some(text), text: None, model })
        }
        Kind::Moongate => {
            let (kind, session) = (over_socket.then_some("input"), over_socket.then_some(session));
            serde_json::to_string(&Input { kind, session, input: None, text: Some(text), model })
        }
        Kind::Oxios => serde_json::to_string(&Frame::Message { content: text, session_id: Some(session) }),
        Kind::Construct => serde_json::to_string(&Frame::Message { content: text, session_id: None }),
        Kind::Orra => serde_json::to_string(&Frame::Chat { message: text, namespace: session }),
        Kind::Chat => {
            let messages = [Message { role: "user", content: text }];
            serde_json::to_string(&Completion { model, stream: true, messages })
        }
        Kind::Responses if over_socket => {
            serde_json::to_string(&Frame::Create { model, conversation: session, input: text })
        }
        Kind::Responses => {
            serde_json::to_string(&Response { model, stream: true, conversation: session, input: text })
        }
    }
}

/// The frame that begins following, where one is needed.
pub(super) fn subscribe(kind: Kind, session: &str) -> serde_json::Result<Option<String>> {
    match kind {
        Kind::Moongate => {
            let (kind, session) = (Some("subscribe"), Some(session));
            serde_json::to_string(&Input { kind, session, input: None, text: None, model: None }).map(Some)
        }
        Kind::Orra => serde_json::to_string(&Frame::Subscribe { namespace: session }).map(Some),
        _ => Ok(None),
    }
}
