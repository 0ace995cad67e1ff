//! A request becomes a response: in a new session, in one that is not kept, after another response, or within a
//! conversation.

use moongate_core::SessionHandle;
use moongate_protocol::{ErrorCode, NewInput, Overlap, Seq};

use super::{find, request::ResponseRequest};
use crate::{
    caller::Authenticated,
    door::{
        openai::{
            DOOR, Openai,
            conversation::Conversation,
            failure::{Fault, Reply, quoted},
            ids::{self, ResponseId},
            models::{self, Choice},
            run::{self, Held, Run},
        },
        shared::Door,
    },
};

/// A response that began.
pub(super) struct Begun {
    pub(super) run: Run,
    pub(super) id: ResponseId,
    /// It can be read again.
    pub(super) store: bool,
}

/// What a request goes on from.
enum Place {
    /// Nothing.
    New,
    /// A response.
    After(ResponseId),
    /// A conversation.
    Within(moongate_protocol::SessionId),
}

struct Start<'a> {
    door: &'a Door<Openai>,
    caller: &'a Authenticated,
    choice: Choice,
    store: bool,
}

/// Begins a response.
///
/// # Errors
/// When the request is not acceptable, or what it goes on from is not there.
pub(super) async fn start(
    door: &Door<Openai>,
    caller: &Authenticated,
    request: ResponseRequest,
) -> Reply<Begun> {
    let gateway = door.app().gateway();
    let choice = match &request.model {
        Some(name) => models::choose(gateway, caller, name)?,
        None => Choice { agent: None, model: None },
    };
    let store = request.store.unwrap_or(true);
    if request.background == Some(true) && !store {
        return Err(Fault::field("background", "background needs store: it is read again later"));
    }
    let place = place(&request)?;
    let (conversation, mut input) = request.read(gateway.ids())?;
    input.overrides.model = choice.model.clone();
    input.overrides.agent = choice.agent.clone();
    let start = Start { door, caller, choice, store };
    let run = match place {
        Place::New => start.anew(conversation, input).await?,
        Place::After(previous) => start.after(previous, conversation, input).await?,
        Place::Within(session) => {
            let session = gateway.session(caller, session).await?;
            only_new(&conversation, "conversation")?;
            say(session, None, conversation, input).await?
        }
    };
    let accepted = &run.accepted;
    let id = ResponseId { session: run.session.id(), input: accepted.input, at: accepted.position.seq };
    Ok(Begun { run, id, store })
}

fn place(request: &ResponseRequest) -> Reply<Place> {
    match (&request.previous_response_id, request.conversation()) {
        (Some(_), Some(_)) => {
            let message = "send previous_response_id or conversation, not both";
            Err(Fault::field("previous_response_id", message))
        }
        (Some(previous), None) => {
            let id = ResponseId::parse(previous).ok_or_else(|| no_previous(previous))?;
            Ok(Place::After(id))
        }
        (None, Some(conversation)) => {
            let missing = || Fault::no_such("Conversation", conversation);
            let session = ids::session(conversation).ok_or_else(missing)?;
            Ok(Place::Within(session))
        }
        (None, None) => Ok(Place::New),
    }
}

fn no_previous(id: &str) -> Fault {
    let message = format!("Previous response with id '{}' not found.", quoted(id));
    let fault = Fault::field("previous_response_id", message);
    fault.with_code(http::StatusCode::BAD_REQUEST, "previous_response_not_found")
}

/// What a session has already is not said again.
fn only_new(conversation: &Conversation, field: &str) -> Reply<()> {
    if conversation.history.is_empty() {
        return Ok(());
    }
    Err(Fault::field("input", format!("with {field} the input has what is new, and nothing a model said")))
}

impl Start<'_> {
    async fn anew(&self, mut conversation: Conversation, input: NewInput) -> Reply<Run> {
        let gateway = self.door.app().gateway();
        if !self.store {
            let held = run::fleeting(gateway, self.caller, &self.choice, &mut conversation).await?;
            return say(held.handle().clone(), Some(held), conversation, input).await;
        }
        let beginning = run::beginning(&self.choice, &mut conversation);
        let created = gateway.create_with(self.caller, DOOR, beginning).await?;
        let session = gateway.session(self.caller, created.view.id).await?;
        say(session, None, conversation, input).await
    }

    async fn after(&self, previous: ResponseId, said: Conversation, input: NewInput) -> Reply<Run> {
        only_new(&said, "previous_response_id")?;
        let gateway = self.door.app().gateway();
        let missing = |fault: Fault| match fault.code() {
            ErrorCode::NotFound => no_previous(&previous.to_string()),
            _ => fault,
        };
        let from = gateway.session(self.caller, previous.session).await;
        let from = from.map_err(|refusal| missing(refusal.into()))?;
        let found = find(from, previous).await.map_err(missing)?;
        let from = found.session;
        let Some(end) = found.ended else {
            let message = format!("Response '{previous}' is still in progress.");
            return Err(Fault::field("previous_response_id", message));
        };
        if !self.store {
            let held: Held = gateway.fork_ephemeral(self.caller, &from, end).await?.into();
            return say(held.handle().clone(), Some(held), said, input).await;
        }
        if from.is_kept() && from.head().seq == end {
            let first = NewInput { after: Some(end), overlap: Overlap::Reject, ..input.clone() };
            match say(from.clone(), None, said.clone(), first).await {
                // Somebody else went on from it first: then there are two branches.
                Err(fault) if is_late(&fault) && from.head().seq != end => {}
                answer => return answer,
            }
        }
        self.branch(&from, end, said, input).await
    }

    /// Goes on from the middle of a session: in a session of its own.
    async fn branch(&self, from: &SessionHandle, at: Seq, said: Conversation, input: NewInput) -> Reply<Run> {
        let gateway = self.door.app().gateway();
        let fork = gateway.fork(self.caller, from, Some(at), None).await?;
        let session = gateway.session(self.caller, fork.view.id).await?;
        say(session, None, said, input).await
    }
}

fn is_late(fault: &Fault) -> bool {
    matches!(fault.code(), ErrorCode::Conflict | ErrorCode::Busy)
}

async fn say(session: SessionHandle, held: Option<Held>, said: Conversation, input: NewInput) -> Reply<Run> {
    for bytes in said.attachments {
        session.put_blob(bytes).await?;
    }
    run::submit(session, held, NewInput { parts: said.parts, ..input }).await
}
