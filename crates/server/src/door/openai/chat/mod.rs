//! `POST /chat/completions`: the agent answers. Stateless, unless a session is named.

mod reply;
mod request;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderName, HeaderValue, StatusCode};
use moongate_core::{Ids, SessionHandle};
use moongate_protocol::{Alias, ErrorCode, SessionId};

pub(super) use self::{
    reply::arguments_text,
    request::{Function, ToolChoice, effort, specs},
};
use self::{
    reply::{Completion, Head},
    request::ChatRequest,
};
use super::{
    At, DOOR, Openai, body,
    conversation::Conversation,
    failure::{Fault, Reply},
    ids,
    models::{self, Choice},
    run::{self, Held},
    stream,
};
use crate::{caller::Authenticated, door::shared::Door, reply::json};

/// The header that names a durable session.
const SESSION: HeaderName = HeaderName::from_static("x-moongate-session");

pub(super) async fn create(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let named = session_name(&request)?;
    let request: ChatRequest = body::json(&door, request).await?;
    let gateway = door.app().gateway();
    let choice = models::choose(gateway, &caller, &request.model)?;
    let model = request.model.clone();
    let (streams, include_usage) = request.streams();
    let (mut conversation, mut input) = request.read(gateway.ids())?;
    input.overrides.model = choice.model.clone();
    input.overrides.agent = choice.agent.clone();
    let kept = named.is_some();
    let (session, held) = match named {
        Some(name) => (durable(&door, &caller, &choice, &name, &mut conversation).await?, None),
        None => {
            let held: Held = run::fleeting(gateway, &caller, &choice, &mut conversation).await?;
            (held.handle().clone(), Some(held))
        }
    };
    for bytes in std::mem::take(&mut conversation.attachments) {
        session.put_blob(bytes).await?;
    }
    input.parts = conversation.parts;
    let tools = input.client_tools.iter().map(|tool| tool.name.clone()).collect();
    let run = run::submit(session, held, input).await?;
    let head = Head {
        id: ids::completion(run.accepted.input),
        created: gateway.ids().now().as_millis().div_euclid(1000),
        model,
        include_usage,
    };
    let mut completion = Completion::new(run.accepted.input, head, tools);
    let mut response = if streams {
        stream::reply(&door, caller, run.source, completion)
    } else {
        run::finish(&door, caller, run.source, &mut completion).await?;
        json(StatusCode::OK, &completion.whole()?)
    };
    mark(&mut response, kept.then(|| run.session.id()));
    Ok(response)
}

/// Tells the client under which name the session is found again.
fn mark(response: &mut Response, session: Option<SessionId>) {
    if let Some(value) = session.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        response.headers_mut().insert(SESSION, value);
    }
}

/// What the client calls its session.
fn session_name(request: &Request) -> Reply<Option<String>> {
    let Some(value) = request.headers().get(SESSION) else { return Ok(None) };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Err(Fault::invalid("X-Moongate-Session names a session: an id, or a name of your own"));
    }
    Ok(Some(text.to_owned()))
}

/// The named session; begun with what was said before when it is new.
async fn durable(
    door: &Door<Openai>,
    caller: &Authenticated,
    choice: &Choice,
    name: &str,
    conversation: &mut Conversation,
) -> Reply<SessionHandle> {
    let gateway = door.app().gateway();
    let session = match name.parse::<SessionId>().ok().or_else(|| ids::session(name)) {
        Some(id) => gateway.session(caller, id).await?,
        None => {
            let alias = alias(caller, name)?;
            match gateway.by_alias(caller, DOOR, &alias).await {
                Ok(session) => session,
                Err(refusal) if refusal.code == ErrorCode::NotFound => {
                    let mut beginning = run::beginning(choice, conversation);
                    beginning.new.alias = Some(alias);
                    let created = gateway.create_with(caller, DOOR, beginning).await?;
                    gateway.session(caller, created.view.id).await?
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
    };
    Ok(session)
}

/// One person's names are not another's.
fn alias(caller: &Authenticated, name: &str) -> Reply<Alias> {
    format!("{} {name}", caller.principal())
        .parse()
        .map_err(|_| Fault::invalid("a session's name is shorter"))
}

/// Whether the request is understood.
pub(super) fn understands(bytes: &[u8], ids: &Ids) -> bool {
    crate::body::parse::<ChatRequest>(bytes).is_ok_and(|request| request.read(ids).is_ok())
}
