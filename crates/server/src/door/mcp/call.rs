//! `tools/call`: an agent is asked, and the answer waited for.

use axum::response::Response;
use http::{HeaderMap, header};
use moongate_core::{NewSession, SessionHandle};
use moongate_protocol::{AgentName, ErrorCode, NewInput, Part, SessionId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Asking, DOOR, Mcp,
    fault::{Answer, Fault},
    message, tale, tools,
    tools::{Answered, Asked},
    whose,
};
use crate::{
    door::shared::{Door, followed},
    reply::Failure,
};

/// The parameters of `tools/call`.
#[derive(Debug, Deserialize)]
struct CallParams {
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}

/// What a call came to.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallResult {
    content: [Text; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Answered>,
    is_error: bool,
}

#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text {
    Text { text: String },
}

impl CallResult {
    /// The agent answered.
    pub(super) fn answered(session: SessionId, answer: String) -> Self {
        let structured = Answered { answer: answer.clone(), session: session.to_string() };
        Self { content: [Text::Text { text: answer }], structured_content: Some(structured), is_error: false }
    }

    /// The agent did not; why, for the one that asks.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { content: [Text::Text { text: why.into() }], structured_content: None, is_error: true }
    }
}

/// Asks an agent.
///
/// # Errors
/// When there is no such tool, or the caller may not, or asks too often.
pub(super) async fn call(door: &Door<Mcp>, asking: Asking) -> Answer<Response> {
    let wanted: CallParams = message::params(&asking.bytes)?;
    let gateway = door.app().gateway();
    let Some(agent) = tools::agent(gateway, &asking.caller, &wanted.name) else {
        let name: String = wanted.name.chars().take(64).filter(|c| !c.is_control()).collect();
        return Err(Fault::params(format!("there is no tool {name:?}")));
    };
    let asked: Asked = match serde_json::from_value(wanted.arguments.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(fault) => {
            return Ok(asking.answer(CallResult::failed(format!("The arguments cannot be used: {fault}."))));
        }
    };
    door.rate.take(asking.caller.key()).map_err(|wait| {
        let most = door.rate.per_minute();
        let message = format!("this key may ask {most} times a minute; try again soon");
        moongate_core::Refusal::later(ErrorCode::RateLimited, message, wait)
    })?;
    let session = match session(door, &asking, &agent, asked.session.as_deref()).await {
        Ok(session) => session,
        Err(failure) if failure.code() == ErrorCode::NotFound => {
            return Ok(
                asking.answer(CallResult::failed("There is no such session; leave it out to begin one."))
            );
        }
        Err(failure) => return Err(failure.into()),
    };
    let mut input = NewInput { parts: vec![Part::text(asked.message)], ..NewInput::default() };
    input.overrides.agent = Some(agent);
    let entry = door.running.add(whose(&asking.caller, &asking.headers, asking.id.clone()));
    let (accepted, follower) = followed(&session, input, None).await?;
    let tale = tale::Tale::new(door.app(), (session, follower, accepted.input), asking, entry);
    if wants_events(tale.headers()) { Ok(tale.stream()) } else { tale.whole().await }
}

/// The conversation that is named, or a new one.
async fn session(
    door: &Door<Mcp>,
    asking: &Asking,
    agent: &AgentName,
    named: Option<&str>,
) -> Result<SessionHandle, Failure> {
    let (gateway, caller) = (door.app().gateway(), &asking.caller);
    let id = match named {
        Some(text) => text.parse().map_err(|_| Failure::new(ErrorCode::NotFound, "no session's name"))?,
        None => {
            let new = NewSession { agent: Some(agent.clone()), ..NewSession::default() };
            gateway.create(caller, DOOR, new).await?.view.id
        }
    };
    Ok(gateway.session(caller, id).await?)
}

/// Whether the client takes a stream, on which it sees that the agent is at work.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|text| text.split(',')).any(|kind| kind.trim_start().starts_with("text/event-stream"))
}
