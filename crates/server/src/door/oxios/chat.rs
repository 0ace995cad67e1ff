//! One request to say something, the same over HTTP and the stream: read, checked, and put into its session.

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use moongate_core::{Accepted, Gateway, NewSession, SessionHandle};
use moongate_protocol::{
    ErrorCode, Idempotency, KeySpace, Metadata, ModelName, NewInput, Overrides, Part, Seq,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Oxios, User, client,
    ending::Problem,
    fault::{Fault, Reply},
    follow::CLIENT_LABEL,
    frames::Client,
    ids::{Named, Uuid, message_id, session_id},
    settings::Settings,
    turn::{ToolCall, Turn},
    wait::{self, Waited},
};
use crate::{
    body,
    caller::Authenticated,
    door::shared::Door,
    reply::{Answer, Failure, json},
};

/// Bytes of one message.
const CONTENT_BYTES: usize = 65_536;
/// Characters of a user's label.
const USER_CHARS: usize = 128;
/// Bytes of any body.
const BODY_BYTES: usize = 2 << 20;
/// The label of a session that says who its client calls itself.
pub(super) const USER_LABEL: &str = "oxios.user_id";

/// A request as it was sent.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Words {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(flatten)]
    settings: Wishes,
}

/// What a request changes for its turn.
#[derive(Debug, Default, Deserialize)]
struct Wishes {
    #[serde(default)]
    persona_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    max_tokens: Option<u32>,
}

/// A request that can be carried out.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) content: String,
    pub(super) session: Option<String>,
    pub(super) client: Client,
    user: String,
    request: Option<Uuid>,
    overrides: Overrides,
}

/// A message that is on disk.
pub(super) struct Put {
    pub(super) session: SessionHandle,
    pub(super) session_id: String,
    pub(super) message: Uuid,
    pub(super) accepted: Accepted,
    /// It was there before.
    pub(super) repeated: bool,
}

impl Words {
    /// Checks everything that can be checked without a session.
    pub(super) fn check(self, client: Client) -> Answer<Chat> {
        let content = self.content.or(self.message);
        let content = content.ok_or_else(|| Fault::unprocessable("content is missing").0)?;
        if content.len() > CONTENT_BYTES {
            return Err(Fault::too_large(content.len(), CONTENT_BYTES).0);
        }
        if content.trim().is_empty() {
            return Err(Failure::invalid("content is empty"));
        }
        let user = self.user_id.filter(|user| !user.is_empty()).unwrap_or_else(|| "default".into());
        if user.chars().count() > USER_CHARS {
            return Err(Failure::invalid(format!("user_id has at most {USER_CHARS} characters")));
        }
        let request = client::uuid("request_id", self.request_id.as_deref())?;
        let overrides = self.settings.overrides()?;
        Ok(Chat { content, session: self.session_id, client, user, request, overrides })
    }
}

impl Wishes {
    fn overrides(self) -> Answer<Overrides> {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        if present(self.persona_id).is_some() {
            return Err(Failure::invalid("unknown persona"));
        }
        let model = present(self.model).map(|name| name.parse::<ModelName>()).transpose();
        let model = model.map_err(|_| Failure::invalid("unknown model"))?;
        let (temperature, max_output_tokens) = (self.temperature, self.max_tokens);
        Ok(Overrides { model, temperature, max_output_tokens, ..Overrides::default() })
    }
}

impl Chat {
    /// Opens the session and puts the message into its queue.
    pub(super) async fn put(
        self,
        door: &Door<Oxios>,
        caller: &Authenticated,
        current: Option<&SessionHandle>,
    ) -> Answer<Put> {
        let gateway = door.app().gateway();
        let (session, named) = match current {
            Some(session) => (session.clone(), None),
            None => self.open(gateway, caller, &door.settings).await?,
        };
        let (client, request) = (self.client, self.request);
        let before = session.head().seq;
        let accepted = session.submit(self.input(&door.settings)).await.map_err(refused)?;
        let message = message_id(accepted.input, request.map(|id| id.to_string()).as_deref());
        let repeated = accepted.position.seq <= before && request.is_some();
        debug_assert!(repeated || accepted.position.seq > Seq::ZERO, "{client:?}");
        // The turn is on its way meanwhile.
        let session_id = match named {
            Some(id) => id,
            None => wire_id(&session).await?,
        };
        Ok(Put { session, session_id, message, accepted, repeated })
    }

    /// Finds or begins the session; its id on the wire where that is known by the way.
    async fn open(
        &self,
        gateway: &Gateway,
        caller: &Authenticated,
        settings: &Settings,
    ) -> Answer<(SessionHandle, Option<String>)> {
        let principal = caller.principal();
        let named = match (Named::parse(self.session.as_deref(), principal)?, self.request) {
            (Named::New, Some(request)) => Named::by_request(request, principal)?,
            (named, _) => named,
        };
        let alias = match named {
            Named::New => None,
            Named::Alias(alias) => Some(alias),
            Named::Native(id) => match gateway.session(caller, id).await {
                Ok(session) => return Ok((session, None)),
                // The id of a session that is gone, kept by a client: it names a new one.
                Err(gone) if gone.code == ErrorCode::NotFound => {
                    Some(Named::alias(self.session.as_deref().unwrap_or_default(), principal)?)
                }
                Err(refusal) => return Err(refusal.into()),
            },
        };
        let metadata = Metadata::from([(USER_LABEL.to_owned(), self.user.clone())]);
        let new = NewSession { agent: settings.agent(), alias, metadata, ..NewSession::default() };
        let created = gateway.create(caller, super::NAME, new).await?;
        let session = gateway.session(caller, created.view.id).await?;
        Ok((session, Some(session_id(&created.view, true))))
    }

    fn input(self, settings: &Settings) -> NewInput {
        let mut hasher = Sha256::new();
        for piece in [&self.content, self.session.as_deref().unwrap_or_default()] {
            hasher.update((piece.len() as u64).to_be_bytes());
            hasher.update(piece);
        }
        hasher.update(format!("{:?}", self.overrides));
        let body_hash = hasher.finalize().into();
        let key = self.request.and_then(|request| request.to_string().parse().ok());
        let mut metadata = Metadata::new();
        if self.client != Client::Plain {
            metadata.insert(CLIENT_LABEL.to_owned(), self.client.as_str().to_owned());
        }
        let approval_secs = Some(settings.approval_timeout_secs);
        NewInput {
            parts: vec![Part::text(self.content)],
            idempotency: key.map(|key| Idempotency {
                key,
                body_hash,
                space: KeySpace::Session,
                instead_of: None,
            }),
            overrides: Overrides { approval_secs, ..self.overrides },
            metadata,
            queue_limit: Some(settings.max_queued.saturating_add(1)),
            ..NewInput::default()
        }
    }
}

/// A refusal of the session in the door's words.
fn refused(refusal: moongate_core::Refusal) -> Failure {
    let mut refusal = refusal;
    match refusal.code {
        ErrorCode::QueueFull => refusal.message = "too many queued messages".into(),
        // A model the operator does not allow.
        ErrorCode::Unprocessable => refusal.code = ErrorCode::InvalidRequest,
        _ => {}
    }
    refusal.into()
}

/// A session's id on the wire.
pub(super) async fn wire_id(session: &SessionHandle) -> Answer<String> {
    let is_ours = &*session.identity().door == super::NAME;
    // Only an alias is worth a look into the store.
    match is_ours {
        true => Ok(session_id(&session.view().await?, true)),
        false => Ok(session.id().to_string()),
    }
}

/// Finds a session by its id on the wire.
pub(super) async fn find(gateway: &Gateway, caller: &Authenticated, text: &str) -> Answer<SessionHandle> {
    let not_found = || Failure::new(ErrorCode::NotFound, "session not found");
    let as_here = |refusal: moongate_core::Refusal| match refusal.code {
        ErrorCode::NotFound => not_found(),
        _ => refusal.into(),
    };
    let principal = caller.principal();
    let alias = match Named::parse(Some(text), principal)? {
        Named::New => return Err(not_found()),
        Named::Alias(alias) => alias,
        Named::Native(id) => match gateway.session(caller, id).await {
            Err(gone) if gone.code == ErrorCode::NotFound => Named::alias(text, principal)?,
            found => return found.map_err(as_here),
        },
    };
    gateway.by_alias(caller, super::NAME, &alias).await.map_err(as_here)
}

/// The reply to `POST /api/chat`.
#[derive(Serialize)]
struct Replied<'a> {
    id: Uuid,
    echo: &'a str,
    reply: &'a str,
    session_id: &'a str,
    phase: &'static str,
    project_tag: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation_passed: Option<bool>,
    duration_ms: u64,
    tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// The turn goes on; its reply will be in the session.
#[derive(Serialize)]
struct StillRunning<'a> {
    error: &'static str,
    id: Uuid,
    session_id: &'a str,
}

/// `POST /api/chat`.
pub(super) async fn post(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let words: Words = read(&door, &headers, body).await?;
    let chat = words.check(Client::Plain)?;
    let echo = chat.content.clone();
    let put = chat.put(&door, &caller, None).await?;
    let (id, session_id) = (put.message, put.session_id.as_str());
    match wait::until_ended(&door, &put).await? {
        Waited::Ended(turn) => Ok(replied(&turn, &echo, (id, session_id))),
        Waited::Withdrawn => {
            let problem = super::ending::Kind::Cancelled.problem();
            let reply = Replied {
                id,
                echo: &echo,
                reply: super::ending::CANCELLED,
                session_id,
                phase: "cancelled",
                project_tag: "",
                evaluation_passed: None,
                duration_ms: 0,
                tool_calls: Vec::new(),
                error: Some(problem),
            };
            Ok(json(StatusCode::OK, &reply))
        }
        Waited::TooLong => {
            let body = StillRunning { error: "turn still running", id, session_id };
            Ok(json(StatusCode::GATEWAY_TIMEOUT, &body))
        }
    }
}

fn replied(turn: &Turn, echo: &str, (id, session_id): (Uuid, &str)) -> Response {
    let reply = Replied {
        id,
        echo,
        reply: &turn.reply(),
        session_id,
        phase: turn.phase(),
        project_tag: "",
        evaluation_passed: turn.passed(),
        duration_ms: turn.duration_ms().unwrap_or(0),
        tool_calls: turn.tool_calls(id),
        error: turn.problem(),
    };
    json(StatusCode::OK, &reply)
}

/// Reads a JSON body: 400 for what is no JSON, 422 for what has not the right form.
pub(super) async fn read<T: for<'de> Deserialize<'de>>(
    door: &Door<Oxios>,
    headers: &HeaderMap,
    body: Body,
) -> Reply<T> {
    body::require_type(headers, "application/json")?;
    let size = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if size > BODY_BYTES {
        return Err(Fault::too_large(size, BODY_BYTES));
    }
    let bytes = body::read(body, BODY_BYTES, door.app()).await?;
    crate::strict::check(&bytes).map_err(|error| Failure::invalid(format!("malformed JSON: {error}")))?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::unprocessable("the body is not a JSON object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| Fault::unprocessable(error.to_string()))
}
