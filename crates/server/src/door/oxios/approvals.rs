//! Approvals, answered in two ways: whichever comes first decides.

use axum::{
    body::Body,
    extract::{Path, State},
};
use http::{HeaderMap, StatusCode};
use moongate_core::{ApprovalView, AskFilter, AskQuery};
use moongate_protocol::{
    ApprovalId, ApprovalState, Decision, ErrorCode, RememberRule, RememberScope, Resolve, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    Oxios, User, chat,
    fault::{Fault, Reply},
    ids::Uuid,
    show::{reason, resource},
};
use crate::{
    caller::Authenticated,
    door::shared::Door,
    reply::{Failure, json},
};

/// Decided approvals a list shows, the newest ones.
const DECIDED: usize = 200;

#[derive(Serialize)]
struct Approval {
    id: Uuid,
    subject: String,
    action: String,
    resource: String,
    reason: String,
    created_at: Timestamp,
    status: &'static str,
    session_id: String,
    expires_at: Timestamp,
}

fn row(view: &ApprovalView, session_id: String) -> Approval {
    let asked = &view.request;
    Approval {
        id: Uuid(asked.approval.bits()),
        subject: format!("agent:{}", Uuid(asked.turn.bits())),
        action: format!("use_tool:{}", asked.tool),
        resource: resource(&asked.arguments, &asked.plan),
        reason: reason(asked),
        created_at: view.requested_at,
        status: match view.state() {
            ApprovalState::Open => "pending",
            ApprovalState::Approved => "approved",
            ApprovalState::Denied => "rejected",
            ApprovalState::Expired => "expired",
        },
        session_id,
        expires_at: asked.expires_at,
    }
}

/// `GET /api/approvals`: all that wait, then the last decided ones, each newest first.
pub(super) async fn list(State(door): State<Door<Oxios>>, User(caller): User) -> Reply {
    let gateway = door.app().gateway();
    let query = |filter, limit| AskQuery { filter, limit, ..AskQuery::default() };
    let mut views = gateway.approvals(&caller, query(AskFilter::Open, 0)).await?;
    views.sort_by_key(|view| std::cmp::Reverse(view.requested_at));
    views.extend(gateway.approvals(&caller, query(AskFilter::Closed, DECIDED)).await?);
    let mut rows = Vec::with_capacity(views.len());
    for view in &views {
        // Deleted meanwhile, where there is none.
        let Ok(session) = gateway.session(&caller, view.session).await else { continue };
        rows.push(row(view, chat::wire_id(&session).await?));
    }
    Ok(json(StatusCode::OK, &rows))
}

#[derive(Serialize)]
struct Decided {
    status: &'static str,
    id: Uuid,
}

/// `POST /api/approvals/{id}/approve`.
pub(super) async fn approve(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let id = parse(&id)?;
    decide(&door, &caller, id, (Decision::Approve, false)).await?;
    Ok(json(StatusCode::OK, &Decided { status: "approved", id }))
}

/// `POST /api/approvals/{id}/reject`.
pub(super) async fn reject(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let id = parse(&id)?;
    decide(&door, &caller, id, (Decision::Deny, false)).await?;
    Ok(json(StatusCode::OK, &Decided { status: "rejected", id }))
}

#[derive(Deserialize)]
struct Response {
    approved: bool,
    #[serde(default)]
    remember: Option<bool>,
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
}

/// `POST /api/chat/tool-approval/{id}/respond`.
pub(super) async fn respond(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let id = parse(&id)?;
    let Response { approved, remember } = chat::read(&door, &headers, body).await?;
    let decision = if approved { Decision::Approve } else { Decision::Deny };
    decide(&door, &caller, id, (decision, approved && remember == Some(true))).await?;
    Ok(json(StatusCode::OK, &Done { status: "ok" }))
}

fn parse(id: &str) -> Reply<Uuid> {
    Uuid::parse(id).ok_or_else(|| Failure::invalid("the approval's id is not a UUID").into())
}

async fn decide(
    door: &Door<Oxios>,
    caller: &Authenticated,
    id: Uuid,
    (decision, remember): (Decision, bool),
) -> Reply<()> {
    let gone = || Fault::not_found("approval not found or already decided");
    let as_here = |refusal: moongate_core::Refusal| match refusal.code {
        ErrorCode::NotFound | ErrorCode::Conflict => gone(),
        _ => refusal.into(),
    };
    let (gateway, approval) = (door.app().gateway(), ApprovalId::from_bits(id.0));
    let remember = match remember {
        true => Some(same_call(&gateway.approval(caller, approval).await.map_err(as_here)?)),
        false => None,
    };
    let resolve = Resolve { approval, decision, arguments: None, reason: None, remember };
    let view = gateway.resolve(caller, resolve).await.map_err(as_here)?;
    if view.already { Err(gone()) } else { Ok(()) }
}

/// The same tool with the same arguments, in this session: no wider than what the person saw.
fn same_call(view: &ApprovalView) -> RememberRule {
    let rule = format!("{} {}", view.request.tool, view.request.arguments);
    RememberRule { scope: RememberScope::Session, rule }
}
