//! The door's paths, and those of the old server that it does not have.

use super::{Construct, attachments, cost, devices, events, handshake, messages, sessions, status, webhook};
use crate::door::shared::{Door, Path};

/// What the old server has and this one does not: these paths and all beneath them.
const OUT_OF_SCOPE: [&str; 36] = [
    "/_app",
    "/admin/shutdown",
    "/api/agents",
    "/api/artifact-body",
    "/api/audit",
    "/api/canvas",
    "/api/channel-events",
    "/api/channels",
    "/api/clawhub",
    "/api/cli-tools",
    "/api/config",
    "/api/cron",
    "/api/daemon/logs",
    "/api/doctor",
    "/api/integrations",
    "/api/kumiho",
    "/api/mcp",
    "/api/memory",
    "/api/nodes",
    "/api/plugins",
    "/api/skills",
    "/api/teams",
    "/api/webauthn",
    "/api/workflows",
    "/github",
    "/hooks",
    "/linq",
    "/metrics",
    "/nextcloud-talk",
    "/track",
    "/wati",
    "/whatsapp",
    "/ws/canvas",
    "/ws/mcp",
    "/ws/nodes",
    "/ws/terminal",
];

/// Every route of the door.
pub(super) fn all() -> Vec<Path<Door<Construct>>> {
    vec![
        Path::get("/ws/chat", handshake::open).socket(),
        Path::get("/api/sessions", sessions::list),
        Path::get("/api/sessions/running", sessions::running),
        Path::get("/api/sessions/{id}", sessions::one),
        Path::put("/api/sessions/{id}", sessions::rename),
        Path::delete("/api/sessions/{id}", sessions::delete),
        Path::get("/api/sessions/{id}/messages", messages::messages),
        Path::get("/api/sessions/{id}/state", sessions::state),
        Path::post("/api/sessions/{id}/abort", sessions::abort),
        Path::post("/api/sessions/{id}/attachments", attachments::upload),
        Path::post("/pair", devices::pair).public(),
        Path::post("/api/pair", devices::pair_json).public(),
        Path::get("/pair/code", devices::no_code).public(),
        Path::get("/admin/paircode", devices::code),
        Path::post("/admin/paircode/new", devices::new_code),
        Path::post("/api/pairing/initiate", devices::initiate),
        Path::get("/api/devices", devices::list),
        Path::delete("/api/devices/{id}", devices::revoke),
        Path::post("/api/devices/{id}/token/rotate", devices::rotate),
        Path::get("/api/events", events::follow),
        Path::get("/api/events/history", events::history),
        Path::post("/webhook", webhook::receive),
        Path::get("/health", status::health).public(),
        Path::get("/api/status", status::status).public(),
        Path::get("/api/health", status::components),
        Path::get("/api/tools", status::tools),
        Path::get("/api/cost", cost::cost),
    ]
}

/// Whether a path is one of the old server's that this one does not have.
pub(super) fn is_out_of_scope(path: &str) -> bool {
    OUT_OF_SCOPE.iter().any(|known| {
        let rest = path.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '-']))
    })
}
