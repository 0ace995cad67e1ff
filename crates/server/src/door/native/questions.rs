//! Questions: what an agent wants to know from a person, and the person's answer.

use axum::{
    extract::State,
    routing::{get, post},
};
use moongate_core::{AskFilter, AskQuery, Caller, QuestionView};
use moongate_protocol::{
    Answer as QuestionAnswer, CallId, Principal, QuestionId, QuestionState, SessionId, Timestamp, TurnId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    body::Json,
    caller::Authenticated,
    extract::{Id, Query, page_size},
    limits::PAGE_ITEMS_MAX,
    reply::{Answer, ok},
    route::Route,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/questions", get(questions))
            .says("The questions that wait for an answer, or those that were answered")
            .query::<QuestionParams>()
            .ok::<QuestionsBody>(200),
        Route::get("/questions/{question}", get(question))
            .says("A question, answered or not")
            .ok::<QuestionBody>(200),
        Route::post("/questions/{question}", post(answer))
            .says("Answer a question; the first answer counts")
            .json::<AnswerBody>()
            .ok::<QuestionBody>(200)
            .writes(),
    ]
}

/// Which questions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct QuestionParams {
    /// Those that wait, or those that do not any more.
    #[serde(default)]
    #[param(inline)]
    state: QuestionParam,
    /// Only of this session.
    #[param(value_type = Option<String>)]
    session: Option<SessionId>,
    /// At most so many; as many as there may be when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// Whether somebody answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum QuestionParam {
    /// Nobody did: soonest expiry first.
    #[default]
    Open,
    /// Somebody did, or time or the turn's end did: latest answer first.
    Answered,
}

/// A question, with the answers once there are some.
#[derive(Serialize, ToSchema)]
struct QuestionBody {
    #[serde(flatten)]
    asked: InquiryBody,
    #[serde(flatten)]
    answered: AnsweredBody,
}

/// What a person is asked.
#[derive(Serialize, ToSchema)]
struct InquiryBody {
    /// Its id.
    id: QuestionId,
    /// In which session.
    session: SessionId,
    /// In which turn.
    turn: TurnId,
    /// The call that asks; absent where the turn itself does.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallId>,
    /// The question in words: nothing in it is invisible.
    text: String,
    /// JSON Schema of the answers: an object with flat properties. Without one the answers are
    /// `{"answer": "…"}`.
    #[schema(value_type = Option<Object>)]
    form: Option<Value>,
    /// Since when.
    asked_at: Timestamp,
    /// When silence ends the question.
    expires_at: Timestamp,
}

/// What was answered.
#[derive(Serialize, ToSchema)]
struct AnsweredBody {
    /// What became of it.
    state: QuestionState,
    /// What was answered, by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    answers: Option<Value>,
    /// Who answered, or stopped the turn; `gateway` when nobody did in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Principal>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
    /// Somebody answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

/// Questions.
#[derive(Serialize, ToSchema)]
struct QuestionsBody {
    /// In the order the state names.
    items: Vec<QuestionBody>,
}

/// The answers to a question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// The answers, by field of the form; `{"answer": "…"}` where there is none.
    #[schema(value_type = Object)]
    answers: Value,
}

impl From<QuestionView> for QuestionBody {
    fn from(view: QuestionView) -> Self {
        let state = view.state();
        let (answers, by) = view.answered.map(|answered| (answered.answers, answered.by)).unzip();
        let answered = AnsweredBody {
            state,
            answers: answers.filter(|answers| !answers.is_null()),
            by,
            answered_at: view.closed_at,
            already: view.already,
        };
        let asked = view.asked;
        let asked = InquiryBody {
            id: asked.question,
            session: view.session,
            turn: asked.turn,
            call: asked.call,
            text: asked.text,
            form: asked.form,
            asked_at: view.asked_at,
            expires_at: asked.expires_at,
        };
        Self { asked, answered }
    }
}

async fn questions(
    State(app): State<App>,
    caller: Authenticated,
    Query(params): Query<QuestionParams>,
) -> Answer {
    let filter = match params.state {
        QuestionParam::Open => AskFilter::Open,
        QuestionParam::Answered => AskFilter::Closed,
    };
    let limit = page_size(params.limit, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX)?;
    let query = AskQuery { filter, session: params.session, limit, ..AskQuery::default() };
    let items = app.gateway().questions(&caller, query).await?;
    ok(&QuestionsBody { items: items.into_iter().map(QuestionBody::from).collect() })
}

async fn question(State(app): State<App>, caller: Authenticated, Id(id): Id<QuestionId>) -> Answer {
    ok(&QuestionBody::from(app.gateway().question(&caller, id).await?))
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
    let answer = QuestionAnswer { question, answers: body.answers };
    Ok(QuestionBody::from(app.gateway().answer(caller, answer).await?))
}
