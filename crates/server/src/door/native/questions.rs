//! Questions: what an agent wants to know from a person, and the person's answer.

use axum::{
    extract::State,
    routing::{get, post},
};
use moongate_core::{Caller, ListQuery, Refusal, SessionHandle, limits::READ_BATCH};
use moongate_protocol::{
    Answer as QuestionAnswer, Event, Principal, QuestionAsked, QuestionId, Seq, SessionId, SessionState,
    Timestamp, TurnId,
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

/// Which questions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AskParams {
    /// In this state; there is one.
    #[serde(default, rename = "state")]
    #[param(inline)]
    _state: AskState,
}

/// Whether somebody answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AskState {
    /// Nobody did.
    #[default]
    Open,
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

/// The answers to a question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// The answers, by field.
    #[schema(value_type = Object)]
    answers: Value,
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
