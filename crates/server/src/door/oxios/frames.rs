//! What the stream sends: typed frames, and the keys all frames of a turn have.

use std::borrow::Cow;

use moongate_protocol::{CallId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    ending::Problem,
    ids::Uuid,
    turn::{ToolCall, Turn},
};

/// Which client an input came from, as its frame showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Client {
    /// A script.
    #[default]
    Plain,
    /// A web UI before it knew `error` frames.
    Ui1,
    /// A web UI that knows them.
    Ui2,
}

impl Client {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ui1 => "ui1",
            Self::Ui2 => "ui2",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Plain, Self::Ui1, Self::Ui2].into_iter().find(|client| client.as_str() == text)
    }
}

/// What one frame says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Body {
    Model {
        model: String,
    },
    Token {
        content: String,
    },
    Reasoning(Reasoning),
    ToolStart {
        tool_name: String,
        tool_call_id: CallId,
        tool_args: Value,
        context: (),
    },
    ToolProgress {
        tool_call_id: CallId,
        tool_name: String,
        progress: String,
    },
    ToolEnd {
        tool_name: String,
        tool_call_id: CallId,
        duration_ms: u64,
        is_error: bool,
        output_summary: String,
    },
    Usage {
        input_tokens: u64,
        output_tokens: u64,
    },
    ToolApproval {
        id: Uuid,
        tool_name: String,
        reason: String,
        resource: String,
        expires_at: Timestamp,
    },
    Error(Failed),
    Done(Box<Done>),
}

/// A piece of reasoning, or one of its ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Reasoning {
    Mark { subtype: &'static str },
    Piece { content: String, source: &'static str },
}

impl Reasoning {
    pub(super) fn start() -> Body {
        Body::Reasoning(Self::Mark { subtype: "start" })
    }

    pub(super) fn end() -> Body {
        Body::Reasoning(Self::Mark { subtype: "end" })
    }

    pub(super) fn piece(content: String) -> Body {
        Body::Reasoning(Self::Piece { content, source: "thinking" })
    }
}

/// What went wrong; the words twice, because UIs read different keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failed {
    message: Cow<'static, str>,
    error: Cow<'static, str>,
    kind: super::ending::Kind,
    suggestion: Option<&'static str>,
}

impl From<&Problem> for Failed {
    fn from(problem: &Problem) -> Self {
        let message = problem.message.clone();
        let (kind, suggestion) = (problem.kind, problem.suggestion);
        Self { error: message.clone(), message, kind, suggestion }
    }
}

/// The end of a turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Done {
    phase: &'static str,
    evaluation_passed: Option<bool>,
    project_tag: Option<&'static str>,
    seed_id: Option<Uuid>,
    duration_ms: Option<u64>,
    tool_calls: Vec<ToolCall>,
    project_ids: (),
    space_id: (),
}

impl Done {
    /// The end of a turn, for one kind of client.
    pub(super) fn of(turn: &Turn, message: Uuid, client: Client) -> Body {
        let mut tool_calls = turn.tool_calls(message);
        if client == Client::Ui2 {
            // Parsed there again.
            tool_calls.iter_mut().for_each(|call| call.input = Value::String(call.input.to_string()));
        }
        let well = turn.passed() == Some(true);
        Body::Done(Box::new(Self {
            phase: turn.phase(),
            evaluation_passed: turn.passed(),
            project_tag: well.then_some(""),
            seed_id: None,
            duration_ms: turn.duration_ms(),
            tool_calls,
            project_ids: (),
            space_id: (),
        }))
    }

    /// What its tools did.
    pub(super) fn tool_calls(&self) -> &[ToolCall] {
        &self.tool_calls
    }

    /// The end of an input that was taken back before it ran.
    pub(super) fn withdrawn() -> Body {
        Body::Done(Box::new(Self {
            phase: "cancelled",
            evaluation_passed: None,
            project_tag: None,
            seed_id: None,
            duration_ms: None,
            tool_calls: Vec::new(),
            project_ids: (),
            space_id: (),
        }))
    }
}

/// A frame of a turn, with the keys all of them have.
#[derive(Serialize)]
pub(super) struct Framed<'a> {
    #[serde(flatten)]
    pub(super) body: &'a Body,
    pub(super) seq: u64,
    pub(super) message_id: Uuid,
    pub(super) session_id: &'a str,
    pub(super) project_id: (),
}

/// A frame that belongs to no turn.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Word<'a> {
    /// A frame of the client was not acceptable.
    Error {
        #[serde(flatten)]
        failed: Failed,
        session_id: Option<&'a str>,
    },
    /// What was asked for cannot be resumed: read the session again.
    Resync { seq: u64, session_id: &'a str },
}

/// Encodes a frame.
pub(super) fn encode<T: Serialize>(frame: &T) -> String {
    serde_json::to_string(frame).unwrap_or_else(|error| {
        tracing::error!(%error, "a frame could not be written as JSON");
        r#"{"type":"error","message":"An internal error occurred.","error":"An internal error occurred.","kind":"internal","suggestion":null,"session_id":null}"#.into()
    })
}
