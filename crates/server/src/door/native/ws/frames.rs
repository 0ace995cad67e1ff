//! The frames of the WebSocket: what clients send, and what they are sent.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use moongate_core::FrameBody;
use moongate_protocol::{ApprovalId, IdempotencyKey, Notice, Position, QuestionId, SessionId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    body::parse,
    reply::{Answer, ErrorInfo, Failure},
    strict,
};

/// Longest `ref`, in bytes.
const REF_BYTES: usize = 256;

/// The client's name for a frame, echoed in the answer.
pub(super) type Ref = Option<Box<RawValue>>;

/// What a client asks for.
pub(super) enum Ask {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Input(Input),
    Cancel(CancelTurn),
    Approve { approval: ApprovalId, decision: Bytes },
    Answer { question: QuestionId, answers: Bytes },
    Ping,
}

/// Follow a session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    pub(super) session: SessionId,
    /// `<epoch>.<seq>`; from the start when absent.
    pub(super) after: Option<String>,
    pub(super) deltas: Option<bool>,
}

/// Follow it no longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsubscribe {
    pub(super) session: SessionId,
}

/// Say something: the fields of the HTTP body, and the session.
pub(super) struct Input {
    pub(super) session: SessionId,
    pub(super) idempotency_key: Option<IdempotencyKey>,
    /// The HTTP body's fields.
    pub(super) body: Bytes,
    pub(super) body_hash: [u8; 32],
}

/// Stop a turn.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelTurn {
    pub(super) session: SessionId,
    pub(super) turn: Option<TurnId>,
    #[serde(default)]
    pub(super) clear_queue: bool,
}

/// The fields of a client's frame that were not taken yet.
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl Fields<'_> {
    fn take<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> Answer<T> {
        let missing = || Failure::field(name, format!("the frame has no {name}"));
        self.take_if_there(name)?.ok_or_else(missing)
    }

    fn take_if_there<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> Answer<Option<T>> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str(text.get())
            .map(Some)
            .map_err(|error| Failure::field(name, format!("the frame is not acceptable: {error}")))
    }

    /// What is left, as a JSON object in a fixed order.
    fn rest(&self) -> Answer<Bytes> {
        let text = serde_json::to_vec(&self.0);
        text.map(Bytes::from).map_err(|_| Failure::invalid("the frame is not acceptable"))
    }
}

/// Reads a client's frame: its `ref`, and what it asks for.
pub(super) fn read(text: &str) -> (Ref, Answer<Ask>) {
    let not_a_frame =
        |error: serde_json::Error| Failure::invalid(format!("a frame is a JSON object: {error}"));
    if let Err(error) = strict::check(text.as_bytes()) {
        return (None, Err(not_a_frame(error)));
    }
    let mut fields = match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
        Ok(fields) => Fields(fields),
        Err(error) => return (None, Err(not_a_frame(error))),
    };
    let name = fields.0.remove("ref");
    if name.is_some_and(|name| name.get().len() > REF_BYTES) {
        return (None, Err(Failure::field("ref", format!("ref has at most {REF_BYTES} bytes"))));
    }
    (name.map(ToOwned::to_owned), ask(fields))
}

fn ask(mut fields: Fields<'_>) -> Answer<Ask> {
    let kind: String = fields.take("type")?;
    match kind.as_str() {
        "subscribe" => Ok(Ask::Subscribe(parse(&fields.rest()?)?)),
        "unsubscribe" => Ok(Ask::Unsubscribe(parse(&fields.rest()?)?)),
        "cancel" => Ok(Ask::Cancel(parse(&fields.rest()?)?)),
        "input" => {
            let session = fields.take("session")?;
            let idempotency_key = fields.take_if_there("idempotency_key")?;
            let body = fields.rest()?;
            let body_hash = Sha256::digest(&body).into();
            Ok(Ask::Input(Input { session, idempotency_key, body, body_hash }))
        }
        "approve" => Ok(Ask::Approve { approval: fields.take("approval")?, decision: fields.rest()? }),
        "answer" => Ok(Ask::Answer { question: fields.take("question")?, answers: fields.rest()? }),
        "ping" => Ok(Ask::Ping),
        _ => Err(Failure::field("type", "there is no frame of this type")),
    }
}

/// It was done.
#[derive(Serialize)]
#[serde(tag = "type", rename = "ack")]
pub(super) struct Ack<'a, T: Serialize> {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a RawValue>,
    #[serde(flatten)]
    pub(super) body: T,
}

/// What a client is sent besides acknowledgements and a session's frames.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Word<'a> {
    /// It was not done.
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        name: Option<&'a RawValue>,
        error: ErrorInfo,
    },
    /// The server lives.
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        name: Option<&'a RawValue>,
    },
    /// A passing state of the server.
    Notice { notice: &'a Notice },
    /// Forget the session's events and start after this position.
    Reset {
        session: SessionId,
        #[serde(flatten)]
        position: Position,
    },
}

/// Nothing more to say.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// A session that is followed from now on.
#[derive(Serialize)]
pub(super) struct Subscribed {
    pub(super) session: SessionId,
    pub(super) head: Position,
}

/// Encodes a word.
pub(super) fn encode<T: Serialize>(word: &T) -> Bytes {
    match serde_json::to_vec(word) {
        Ok(text) => text.into(),
        Err(error) => {
            tracing::error!(%error, "a frame could not be written as JSON");
            Bytes::from_static(
                br#"{"type":"error","error":{"code":"internal","message":"something failed inside"}}"#,
            )
        }
    }
}

/// A failure as a frame.
pub(super) fn failed(name: Option<&RawValue>, failure: &Failure) -> Bytes {
    encode(&Word::Error { name, error: failure.body().error })
}

/// Encodes a session's frame, where the frame alone says everything: a reset does not.
pub(super) fn encode_frame(body: &FrameBody) -> Bytes {
    match body {
        FrameBody::Event(record) => wrap("event", record.json()),
        FrameBody::Delta(delta) => wrap_json("delta", delta),
        FrameBody::Notice(notice) => wrap_json("notice", notice),
        FrameBody::Reset(position) => wrap_json("reset", position),
    }
}

fn wrap_json<T: Serialize>(kind: &str, value: &T) -> Bytes {
    wrap(kind, &serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()))
}

/// `{"type":"<kind>","<kind>":<json>}`: the text of an event is sent as it is on disk.
fn wrap(kind: &str, json: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(json.len() + 2 * kind.len() + 16);
    for piece in ["{\"type\":\"", kind, "\",\"", kind, "\":"] {
        out.put_slice(piece.as_bytes());
    }
    out.put_slice(json);
    out.put_u8(b'}');
    out.freeze()
}
