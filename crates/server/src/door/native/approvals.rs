//! Approvals: the calls that wait for a person, and the person's word.

use axum::{
    extract::State,
    routing::{get, post},
};
use moongate_core::{ApprovalFilter, ApprovalQuery, ApprovalView, Caller};
use moongate_protocol::{
    ApprovalId, ApprovalState, CallId, Decision, Principal, RememberRule, Requirement, Resolve, SessionId,
    Timestamp, ToolName, TurnId,
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
        Route::get("/approvals", get(approvals))
            .says("The calls that wait for a person, or those that were decided")
            .query::<ApprovalParams>()
            .ok::<ApprovalsBody>(200),
        Route::get("/approvals/{approval}", get(approval))
            .says("An approval, decided or not")
            .ok::<ApprovalBody>(200),
        Route::post("/approvals/{approval}", post(decide))
            .says("Decide on an approval; the first decision counts")
            .json::<DecideBody>()
            .ok::<ApprovalBody>(200)
            .writes(),
    ]
}

/// Which approvals to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ApprovalParams {
    /// Those that wait, or those that were decided.
    #[serde(default)]
    #[param(inline)]
    state: ApprovalParam,
    /// Only of this session.
    #[param(value_type = Option<String>)]
    session: Option<SessionId>,
    /// At most so many; as many as there may be when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// Whether somebody decided.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ApprovalParam {
    /// Nobody did: soonest expiry first.
    #[default]
    Open,
    /// Somebody did, or time did: latest decision first.
    Decided,
}

/// An approval, with the decision once there is one.
#[derive(Serialize, ToSchema)]
pub(super) struct ApprovalBody {
    #[serde(flatten)]
    asked: AskedBody,
    #[serde(flatten)]
    decided: DecidedBody,
}

/// What a person is asked.
#[derive(Serialize, ToSchema)]
struct AskedBody {
    /// Its id.
    id: ApprovalId,
    /// In which session.
    session: SessionId,
    /// In which turn.
    turn: TurnId,
    /// The call.
    call: CallId,
    /// The tool.
    tool: ToolName,
    /// The arguments that would run.
    #[schema(value_type = Object)]
    arguments: Value,
    /// Whether anything but a person's word could have answered.
    requirement: Requirement,
    #[serde(flatten)]
    shown: ShownBody,
    /// SHA-256 of the canonical call and of what it works on, in hexadecimal.
    hash: String,
    /// Since when.
    requested_at: Timestamp,
    /// When silence becomes a no.
    expires_at: Timestamp,
}

/// What a person reads before they decide.
#[derive(Serialize, ToSchema)]
struct ShownBody {
    /// What would run, in full: nothing in it is invisible.
    plan: String,
    /// What it would change as things are, in lines, where the tool can tell; for files a unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    /// Why a person is asked.
    reason: String,
}

/// What was decided.
#[derive(Serialize, ToSchema)]
struct DecidedBody {
    /// What became of it.
    state: ApprovalState,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// The arguments as the person changed them: these run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    changed_arguments: Option<Value>,
    /// SHA-256 of the canonical call with the changed arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_hash: Option<String>,
    /// Why, as the person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_reason: Option<String>,
    /// Who decided; `gateway` when nobody did in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Principal>,
    /// A rule that was kept with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remember: Option<RememberRule>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    /// Somebody decided before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
}

/// Approvals.
#[derive(Serialize, ToSchema)]
struct ApprovalsBody {
    /// In the order the state names.
    items: Vec<ApprovalBody>,
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
    /// A rule to keep: a tool's name, alone or followed by a space and the arguments it is about, as JSON.
    remember: Option<RememberRule>,
}

impl From<ApprovalView> for ApprovalBody {
    fn from(view: ApprovalView) -> Self {
        let state = view.state();
        let resolved = view.resolved.as_ref();
        let decided = DecidedBody {
            state,
            decision: resolved.map(|resolved| resolved.decision),
            changed_arguments: resolved.and_then(|resolved| resolved.arguments.clone()),
            changed_hash: resolved.and_then(|resolved| resolved.hash.clone()),
            decision_reason: resolved.and_then(|resolved| resolved.reason.clone()),
            by: resolved.map(|resolved| resolved.by.clone()),
            remember: resolved.and_then(|resolved| resolved.remember.clone()),
            decided_at: view.resolved_at,
            already: view.already,
        };
        let request = view.request;
        let asked = AskedBody {
            id: request.approval,
            session: view.session,
            turn: request.turn,
            call: request.call,
            tool: request.tool,
            arguments: request.arguments,
            requirement: request.requirement,
            shown: ShownBody { plan: request.plan, preview: request.preview, reason: request.reason },
            hash: request.hash,
            requested_at: view.requested_at,
            expires_at: request.expires_at,
        };
        Self { asked, decided }
    }
}

async fn approvals(
    State(app): State<App>,
    caller: Authenticated,
    Query(params): Query<ApprovalParams>,
) -> Answer {
    let filter = match params.state {
        ApprovalParam::Open => ApprovalFilter::Open,
        ApprovalParam::Decided => ApprovalFilter::Decided,
    };
    let limit = page_size(params.limit, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX)?;
    let query = ApprovalQuery { filter, session: params.session, limit, ..ApprovalQuery::default() };
    let items = app.gateway().approvals(&caller, query).await?;
    ok(&ApprovalsBody { items: items.into_iter().map(ApprovalBody::from).collect() })
}

async fn approval(State(app): State<App>, caller: Authenticated, Id(id): Id<ApprovalId>) -> Answer {
    ok(&ApprovalBody::from(app.gateway().approval(&caller, id).await?))
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
) -> Answer<ApprovalBody> {
    let DecideBody { decision, arguments, reason, remember } = body;
    let resolve = Resolve { approval, decision, arguments, reason, remember };
    Ok(app.gateway().resolve(caller, resolve).await?.into())
}
