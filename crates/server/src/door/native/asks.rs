//! Approvals and questions: what waits for a person, and the person's word.

use axum::{
    extract::State,
    routing::{get, post},
};
use moongate_core::{Caller, ListQuery, Refusal, SessionHandle, limits::READ_BATCH};
use moongate_protocol::{
    Answer as QuestionAnswer, ApprovalId, ApprovalRequested, CallId, Decision, Event, Principal,
    QuestionAsked, QuestionId, RememberRule, Resolve, Seq, SessionId, SessionState, Timestamp, TurnId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    body::Json,
    caller::Authenticated,
    extract::{Id, Query},
    reply::{Answer, Failure, ok},
    route::Route,
};

/// Sessions that are looked at for open questions.
const WAITING_SESSIONS: usize = 1_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/approvals", get(approvals))
            .says("The approvals that wait for a decision")
            .query::<AskParams>()
            .ok::<ApprovalsBody>(200),
        Route::get("/approvals/{approval}", get(approval)).says("An open approval").ok::<ApprovalBody>(200),
        Route::post("/approvals/{approval}", post(decide))
            .says("Decide on an approval")
            .json::<DecideBody>()
            .ok::<ApprovalBody>(200)
            .writes(),
        Route::get("/questions", get(questions))
            .says("The questions that wait for an answer")
            .query::<AskParams>()
            .ok::<QuestionsBody>(200),
        Route::post("/questions/{question}", post(answer))
            .says("Answer a question")
            .json::<AnswerBody>()
            .ok::<QuestionBody>(200)
            .writes(),
    ]
}

/// Which approvals or questions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AskParams {
    /// In this state; there is one.
    #[serde(default, rename = "state")]
    #[param(inline)]
    _state: AskState,
}

/// Whether somebody decided.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AskState {
    /// Nobody did.
    #[default]
    Open,
}

/// An approval, with the decision once there is one.
#[derive(Serialize, ToSchema)]
struct ApprovalBody {
    /// Its id.
    id: ApprovalId,
    /// In which session.
    session: SessionId,
    /// In which turn.
    turn: TurnId,
    /// The call.
    call: CallId,
    /// What would run.
    plan: String,
    /// Why a person is asked.
    reason: String,
    /// SHA-256 of the canonical plan, in hexadecimal.
    hash: String,
    /// When silence becomes a no.
    expires_at: Timestamp,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Principal>,
    /// Somebody decided before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

/// Open approvals.
#[derive(Serialize, ToSchema)]
struct ApprovalsBody {
    /// Soonest expiry first.
    items: Vec<ApprovalBody>,
}

/// A question, with the answers once there are some.
#[derive(Serialize, ToSchema)]
struct QuestionBody {
    /// Its id.
    id: QuestionId,
    /// In which session.
    session: SessionId,
    /// In which turn.
    turn: TurnId,
    /// The question in words.
    text: String,
    /// JSON Schema of the answers, where a form is wanted.
    #[schema(value_type = Option<Object>)]
    form: Option<Value>,
    /// When silence ends the question.
    expires_at: Timestamp,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    answers: Option<Value>,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Principal>,
    /// Somebody answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

/// Open questions.
#[derive(Serialize, ToSchema)]
struct QuestionsBody {
    /// In the order they were asked, session by session.
    items: Vec<QuestionBody>,
}

/// A decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideBody {
    /// The decision.
    decision: Decision,
    /// Changed arguments: checked against the tool's schema, under a new hash.
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
    /// Why.
    reason: Option<String>,
    /// A rule to keep.
    remember: Option<RememberRule>,
}

/// The answers to a question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// The answers, by field.
    #[schema(value_type = Object)]
    answers: Value,
}

impl ApprovalBody {
    fn of(session: SessionId, asked: &ApprovalRequested) -> Self {
        Self {
            id: asked.approval,
            session,
            turn: asked.turn,
            call: asked.call.clone(),
            plan: asked.plan.clone(),
            reason: asked.reason.clone(),
            hash: asked.hash.clone(),
            expires_at: asked.expires_at,
            decision: None,
            by: None,
            already: false,
        }
    }
}

impl QuestionBody {
    fn of(session: SessionId, asked: &QuestionAsked) -> Self {
        Self {
            id: asked.question,
            session,
            turn: asked.turn,
            text: asked.text.clone(),
            form: asked.form.clone(),
            expires_at: asked.expires_at,
            answers: None,
            by: None,
            already: false,
        }
    }
}

async fn approvals(State(app): State<App>, caller: Authenticated, _: Query<AskParams>) -> Answer {
    let mut items = Vec::new();
    for open in app.gateway().store().open_approvals(caller.tenant()).await? {
        // Not the caller's, or gone meanwhile.
        let Ok(session) = app.gateway().session(&caller, open.session).await else { continue };
        items.extend(read_approval(&session, open.approval).await?);
    }
    ok(&ApprovalsBody { items })
}

async fn approval(State(app): State<App>, caller: Authenticated, Id(id): Id<ApprovalId>) -> Answer {
    let session = session_of(&app, &caller, id).await?;
    let found = read_approval(&session, id).await?;
    ok(&found.ok_or_else(|| Refusal::not_found("approval"))?)
}

async fn decide(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<ApprovalId>,
    Json(body): Json<DecideBody>,
) -> Answer {
    ok(&resolve(&app, &caller, id, body).await?)
}

/// Decides on an approval: the same by HTTP and by WebSocket.
pub(super) async fn resolve(
    app: &App,
    caller: &Caller,
    approval: ApprovalId,
    body: DecideBody,
) -> Answer<impl Serialize + use<>> {
    let session = session_of(app, caller, approval).await?;
    let before = read_approval(&session, approval).await?;
    if let Some(decided) = before.filter(|approval| approval.decision.is_some()) {
        return Ok(ApprovalBody { already: true, ..decided });
    }
    let DecideBody { decision, arguments, reason, remember } = body;
    session.resolve(Resolve { approval, decision, arguments, reason, remember }).await?;
    let after = read_approval(&session, approval).await?;
    after.ok_or_else(|| Refusal::not_found("approval").into())
}

/// The session an open approval belongs to.
async fn session_of(app: &App, caller: &Caller, id: ApprovalId) -> Answer<SessionHandle> {
    let open = app.gateway().store().open_approvals(caller.tenant()).await?;
    let found = open.into_iter().find(|open| open.approval == id);
    let session = found.ok_or_else(|| Refusal::not_found("approval"))?.session;
    app.gateway().session(caller, session).await.map_err(|_| Refusal::not_found("approval").into())
}

async fn read_approval(session: &SessionHandle, id: ApprovalId) -> Result<Option<ApprovalBody>, Refusal> {
    let mut found: Option<ApprovalBody> = None;
    scan(session, &id.to_string(), |event| match event {
        Event::ApprovalRequested(asked) if asked.approval == id => {
            found = Some(ApprovalBody::of(session.id(), asked));
        }
        Event::ApprovalResolved(resolved) if resolved.approval == id => {
            if let Some(found) = &mut found {
                (found.decision, found.by) = (Some(resolved.decision), Some(resolved.by.clone()));
            }
        }
        _ => {}
    })
    .await?;
    Ok(found)
}

async fn questions(State(app): State<App>, caller: Authenticated, _: Query<AskParams>) -> Answer {
    let mut items = Vec::new();
    for session in waiting(&app, &caller).await? {
        let questions = read_questions(&session).await?;
        items.extend(questions.into_iter().filter(|question| question.answers.is_none()));
    }
    ok(&QuestionsBody { items })
}

async fn answer(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<QuestionId>,
    Json(body): Json<AnswerBody>,
) -> Answer {
    ok(&reply_to(&app, &caller, id, body).await?)
}

/// Answers a question: the same by HTTP and by WebSocket.
pub(super) async fn reply_to(
    app: &App,
    caller: &Caller,
    question: QuestionId,
    body: AnswerBody,
) -> Answer<impl Serialize + use<>> {
    for session in waiting(app, caller).await? {
        let asked = read_questions(&session).await?.into_iter().find(|asked| asked.id == question);
        let Some(asked) = asked else { continue };
        if asked.answers.is_some() {
            return Ok(QuestionBody { already: true, ..asked });
        }
        session.answer(QuestionAnswer { question, answers: body.answers }).await?;
        let after = read_questions(&session).await?.into_iter().find(|asked| asked.id == question);
        return after.ok_or_else(|| Refusal::not_found("question").into());
    }
    Err(Failure::from(Refusal::not_found("question")))
}

/// The caller's sessions that wait for a person.
async fn waiting(app: &App, caller: &Caller) -> Result<Vec<SessionHandle>, Refusal> {
    let state = Some(SessionState::Waiting);
    let query = ListQuery { state, limit: WAITING_SESSIONS, ..ListQuery::default() };
    let mut sessions = Vec::new();
    for view in app.gateway().list(caller, query).await?.items {
        sessions.push(app.gateway().session(caller, view.id).await?);
    }
    Ok(sessions)
}

async fn read_questions(session: &SessionHandle) -> Result<Vec<QuestionBody>, Refusal> {
    let mut found: Vec<QuestionBody> = Vec::new();
    scan(session, QuestionId::PREFIX, |event| match event {
        Event::QuestionAsked(asked) => found.push(QuestionBody::of(session.id(), asked)),
        Event::QuestionAnswered(answered) => {
            if let Some(found) = found.iter_mut().find(|asked| asked.id == answered.question) {
                (found.answers, found.by) = (Some(answered.answers.clone()), Some(answered.by.clone()));
            }
        }
        _ => {}
    })
    .await?;
    Ok(found)
}

/// Reads the events whose text holds `needle`.
async fn scan(session: &SessionHandle, needle: &str, mut read: impl FnMut(&Event)) -> Result<(), Refusal> {
    let needle = memchr::memmem::Finder::new(needle);
    let mut after = Seq::ZERO;
    loop {
        let records = session.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Ok(()) };
        after = last.position().seq;
        for record in records.iter().filter(|record| needle.find(record.json()).is_some()) {
            if let Ok(envelope) = record.envelope() {
                read(&envelope.event);
            }
        }
    }
}
