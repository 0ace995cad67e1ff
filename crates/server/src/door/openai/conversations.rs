//! `/conversations`: sessions, under the names OpenAI's clients have for them.

use axum::extract::{Request, State};
use http::{StatusCode, Uri};
use moongate_core::SessionHandle;
use moongate_protocol::{ErrorCode, Metadata, Seq, SessionPatch, SessionView};
use serde::{Deserialize, Serialize};

use super::{
    At, DOOR, Openai, body,
    conversation::Collector,
    failure::{Fault, Reply},
    ids,
    models::Choice,
    page::{Listing, list, page},
    responses::{
        items::{Item, Items},
        labels,
        object::seconds,
        request::{Item as InputItem, collect},
    },
    run,
};
use crate::{
    caller::Authenticated,
    door::shared::{Door, Path},
    reply::json,
};

/// Most items that are added at a time, as OpenAI has it.
const ITEMS: usize = 20;

pub(super) fn paths() -> Vec<Path<Door<Openai>>> {
    vec![
        Path::post("/conversations", create),
        Path::get("/conversations/{id}", retrieve),
        Path::post("/conversations/{id}", update),
        Path::delete("/conversations/{id}", delete),
        Path::get("/conversations/{id}/items", items),
        Path::post("/conversations/{id}/items", add),
        Path::get("/conversations/{id}/items/{item}", item),
        Path::delete("/conversations/{id}/items/{item}", keep),
    ]
}

#[derive(Serialize)]
struct Conversation {
    id: String,
    object: &'static str,
    created_at: i64,
    metadata: Metadata,
}

impl From<SessionView> for Conversation {
    fn from(view: SessionView) -> Self {
        Self {
            id: ids::conversation(view.id),
            object: "conversation",
            created_at: seconds(view.created_at),
            metadata: labels::clients(&view.metadata),
        }
    }
}

#[derive(Deserialize)]
struct Create {
    #[serde(default)]
    items: Option<Vec<InputItem>>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

async fn create(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let request: Create = body::json(&door, request).await?;
    let gateway = door.app().gateway();
    let mut collector = Collector::new(gateway.ids());
    collect(request.items.unwrap_or_default(), &mut collector)?;
    let mut conversation = collector.all()?;
    let mut beginning = run::beginning(&Choice { agent: None, model: None }, &mut conversation);
    beginning.new.metadata = labels::clients(&request.metadata.unwrap_or_default());
    let created = gateway.create_with(&caller, DOOR, beginning).await?;
    Ok(json(StatusCode::OK, &Conversation::from(created.view)))
}

/// The conversation a request's path names.
async fn named(door: &Door<Openai>, caller: &Authenticated, uri: &Uri) -> Reply<SessionHandle> {
    let text = body::segment(uri, "conversations")?;
    let missing = || Fault::no_such("Conversation", text);
    let session = ids::session(text).ok_or_else(missing)?;
    door.app().gateway().session(caller, session).await.map_err(|refusal| match refusal.code {
        ErrorCode::NotFound => missing(),
        _ => refusal.into(),
    })
}

async fn retrieve(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let session = named(&door, &caller, request.uri()).await?;
    Ok(json(StatusCode::OK, &Conversation::from(session.view().await?)))
}

#[derive(Deserialize)]
struct Update {
    metadata: Option<Metadata>,
}

async fn update(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let session = named(&door, &caller, request.uri()).await?;
    let request: Update = body::json(&door, request).await?;
    let mut metadata = session.view().await?.metadata;
    metadata.retain(|name, _| labels::is_ours(name));
    metadata.extend(labels::clients(&request.metadata.unwrap_or_default()));
    let view = session.update(SessionPatch { metadata: Some(metadata), ..SessionPatch::default() }).await?;
    Ok(json(StatusCode::OK, &Conversation::from(view)))
}

#[derive(Serialize)]
struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

async fn delete(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let session = named(&door, &caller, request.uri()).await?;
    session.delete().await?;
    let id = ids::conversation(session.id());
    Ok(json(StatusCode::OK, &Deleted { id, object: "conversation.deleted", deleted: true }))
}

async fn items(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let listing = Listing::of(request.uri())?;
    let session = named(&door, &caller, request.uri()).await?;
    page(all(&session).await?, &listing)
}

async fn item(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let session = named(&door, &caller, request.uri()).await?;
    let id = body::segment(request.uri(), "items")?;
    let found = all(&session).await?.into_iter().find(|item| item.id() == id);
    let found = found.ok_or_else(|| Fault::no_such("Item", id))?;
    Ok(json(StatusCode::OK, &found))
}

async fn all(session: &SessionHandle) -> Reply<Vec<Item>> {
    Items::between(session, Seq::ZERO, session.head().seq).await
}

#[derive(Deserialize)]
struct Add {
    items: Vec<InputItem>,
}

/// Adds what was said elsewhere: the next response knows it, and nothing answers it by itself.
async fn add(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let session = named(&door, &caller, request.uri()).await?;
    let request: Add = body::json(&door, request).await?;
    if !(1..=ITEMS).contains(&request.items.len()) {
        return Err(Fault::field("items", format!("items are from 1 to {ITEMS} at a time")));
    }
    let mut collector = Collector::new(door.app().gateway().ids());
    collect(request.items, &mut collector)?;
    let conversation = collector.all()?;
    for bytes in conversation.attachments {
        session.put_blob(bytes).await?;
    }
    let added = session.take_in(conversation.history).await?;
    let before = Seq(added.first.0.saturating_sub(1));
    Ok(list(Items::between(&session, before, added.last).await?, false))
}

/// A conversation is a log: what was said in it stays said, and models were shown it.
async fn keep(State(door): At, caller: Authenticated, request: Request) -> Reply {
    named(&door, &caller, request.uri()).await?;
    let message = "single items stay in a conversation; delete all of it, or begin another one without them";
    Err(Fault::unsupported("item_id", message))
}
