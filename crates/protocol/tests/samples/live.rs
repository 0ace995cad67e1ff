//! Deltas, notices and views.

use moongate_protocol::{
    Delta, DeltaKind, Epoch, MessageView, Notice, Overlap, Parent, Part, PolicyPreset, Position, QueuedInput,
    Role, Seq, SessionRules, SessionState, SessionSums, SessionView, WaitingOn,
};

use super::{all_parts, at, call, input, item, name, session, turn, unpriced, usage};

pub(crate) fn deltas() -> Vec<Delta> {
    let delta = |kind, offset, text: &str, tool: Option<&str>| Delta {
        session: session(),
        turn: turn(),
        item: item(1),
        kind,
        offset,
        text: text.into(),
        tool: tool.map(str::to_owned),
    };
    vec![
        delta(DeltaKind::Text, 12, " world", None),
        delta(DeltaKind::Reasoning, 0, "Let me", None),
        delta(DeltaKind::ToolArguments, 0, "", Some("shell")),
        delta(DeltaKind::ToolOutput, 3, "ls: 世界\n", None),
    ]
}

pub(crate) fn notices() -> Vec<Notice> {
    let waiting = |on| Notice::Waiting { session: session(), turn: turn(), on, since: at() };
    let ons = [
        WaitingOn::Model,
        WaitingOn::Tool,
        WaitingOn::Approval,
        WaitingOn::Question,
        WaitingOn::RateLimit,
        WaitingOn::Capacity,
    ];
    let mut notices = vec![
        Notice::Queue { session: session(), queue: vec![input()] },
        Notice::Queue { session: session(), queue: vec![] },
        Notice::Draining,
    ];
    notices.extend(ons.map(waiting));
    notices
}

pub(crate) fn session_views() -> Vec<SessionView> {
    let queued = |overlap| QueuedInput {
        input: input(),
        author: name("bob"),
        parts: vec![Part::text("and then?")],
        overlap,
        at: at(),
    };
    let head = Position { epoch: Epoch(0x6f2c), seq: Seq(41) };
    let minimal = SessionView {
        id: session(),
        alias: None,
        title: None,
        owner: name("bob"),
        agent: name("main"),
        namespace: name("user:bob"),
        state: SessionState::Idle,
        turn: None,
        head: Position { epoch: Epoch(1), seq: Seq(1) },
        queue: vec![],
        created_at: at(),
        updated_at: at(),
        sums: SessionSums { usage: unpriced(), messages: None },
        metadata: Default::default(),
        archived: false,
        rules: SessionRules::default(),
        parent: None,
    };
    let full = SessionView {
        alias: Some(name("my chat")),
        title: Some("Hello, 世界".into()),
        state: SessionState::Running,
        turn: Some(turn()),
        head,
        queue: [Overlap::Queue, Overlap::Steer, Overlap::Interrupt, Overlap::Reject].map(queued).into(),
        sums: SessionSums { usage: usage(), messages: Some(7) },
        metadata: [("colour".to_owned(), "blue".to_owned())].into(),
        archived: true,
        rules: SessionRules { policy: Some(PolicyPreset::WorkspaceWrite), auto_approve: true },
        parent: Some(Parent { session: session(), turn: turn(), call: call() }),
        ..minimal.clone()
    };
    let waiting = SessionView { state: SessionState::Waiting, turn: Some(turn()), ..minimal.clone() };
    vec![full, minimal, waiting]
}

pub(crate) fn message_views() -> Vec<MessageView> {
    let said = MessageView {
        seq: Seq(2),
        item: None,
        input: Some(input()),
        turn: None,
        role: Role::User,
        parts: vec![Part::text("hi")],
        at: at(),
        partial: false,
    };
    let answered = MessageView {
        seq: Seq(4),
        item: Some(item(1)),
        input: None,
        turn: Some(turn()),
        role: Role::Assistant,
        parts: all_parts(),
        at: at(),
        partial: true,
    };
    vec![said, answered]
}
