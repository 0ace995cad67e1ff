//! Every event type.

use moongate_protocol::*;
use serde_json::json;

use super::{
    EFFORTS, all_parts, at, call, client_tools, input, input_parts, item, name, session, tokens, turn,
    unpriced, usage,
};

/// Every example, in an envelope.
pub(crate) fn envelopes() -> Vec<Envelope> {
    let events =
        [sessions(), inputs(), turns(), messages(), tools(), people(), programs(), ends(), delegations()]
            .concat();
    let seqs = 1..;
    events
        .into_iter()
        .zip(seqs)
        .map(|(event, seq)| Envelope {
            epoch: Epoch(0x6f2c),
            seq: Seq(seq),
            at: at(),
            session: session(),
            event,
        })
        .collect()
}

fn sessions() -> Vec<Event> {
    let created = SessionCreated {
        owner: name("bob@example.org"),
        namespace: name("tenant:acme:user:bob"),
        agent: name("main"),
        alias: Some(name("my chat / 世界")),
        title: Some("Hello".into()),
        metadata: [("colour".to_owned(), "blue".to_owned())].into(),
        parent: None,
        terms: None,
    };
    let bare = SessionCreated { alias: None, title: None, metadata: Metadata::new(), ..created.clone() };
    let unchanged = SessionUpdated {
        title: None,
        metadata: None,
        archived: None,
        agent: None,
        policy: None,
        auto_approve: None,
        by: name("bob"),
    };
    let updated = |policy| SessionUpdated {
        title: Some("New".into()),
        metadata: Some(Metadata::new()),
        archived: Some(false),
        agent: Some(name("other")),
        policy: Some(policy),
        auto_approve: Some(policy == PolicyPreset::Full),
        by: name("bob"),
    };
    let presets =
        [PolicyPreset::ReadOnly, PolicyPreset::Ask, PolicyPreset::WorkspaceWrite, PolicyPreset::Full];
    let mut events = vec![Event::SessionCreated(created), Event::SessionCreated(bare)];
    events.extend(presets.map(|policy| Event::SessionUpdated(updated(policy))));
    events.push(Event::SessionUpdated(unchanged));
    events.push(Event::SessionForked(SessionForked { from: session(), at: Seq(7), by: name("eve") }));
    events.push(Event::SessionDeleted(SessionDeleted { by: name("bob") }));
    events
}

fn inputs() -> Vec<Event> {
    let bare = InputAccepted {
        input: input(),
        author: name("bob"),
        parts: vec![Part::text("hi")],
        overlap: Overlap::Queue,
        idempotency_key: None,
        overrides: Overrides::default(),
        client_tools: Vec::new(),
        metadata: Metadata::new(),
        agents: Vec::new(),
    };
    let full = |effort| InputAccepted {
        parts: input_parts(),
        overlap: Overlap::Steer,
        idempotency_key: Some(name("2f7c/a+b")),
        overrides: Overrides {
            agent: Some(name("scout")),
            model: Some(name("openai/gpt-5")),
            effort: Some(effort),
            temperature: Some(0.5),
            max_output_tokens: Some(100),
            approval_secs: Some(120),
            persona: Some("pirate".into()),
            project: Some("moon".into()),
            instructions: Some("Be brief.".into()),
        },
        client_tools: client_tools(),
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        agents: vec![name("main"), name("scout")],
        ..bare.clone()
    };
    let mut events: Vec<_> = EFFORTS.map(|effort| Event::InputAccepted(full(effort))).into();
    for overlap in [Overlap::Queue, Overlap::Interrupt, Overlap::Reject] {
        events.push(Event::InputAccepted(InputAccepted { overlap, ..bare.clone() }));
    }
    events.push(Event::InputWithdrawn(InputWithdrawn { input: input(), by: name("bob") }));
    events
}

fn turns() -> Vec<Event> {
    let agent = AgentSnapshot {
        agent: name("main"),
        model: name("builtin/demo"),
        policy_hash: "0123456789abcdef".into(),
    };
    vec![
        Event::TurnStarted(TurnStarted { turn: turn(), inputs: vec![input()], agent, attempt: 1, fence: 3 }),
        Event::TurnResumed(TurnResumed { turn: turn(), attempt: 2, fence: 4 }),
    ]
}

fn messages() -> Vec<Event> {
    let message = |role, stop_reason, input, partial| {
        Event::MessageCompleted(MessageCompleted {
            turn: turn(),
            item: item(9),
            role,
            parts: if partial { vec![Part::text("Hel")] } else { all_parts() },
            stop_reason,
            input,
            partial,
        })
    };
    let stops = [
        StopReason::EndTurn,
        StopReason::ToolUse,
        StopReason::MaxTokens,
        StopReason::StopSequence,
        StopReason::Refusal,
        StopReason::Cancelled,
        StopReason::Cut,
    ];
    let mut events = vec![message(Role::User, None, Some(input()), false)];
    events.extend(stops.map(|stop| {
        let partial = matches!(stop, StopReason::Cancelled | StopReason::Cut);
        message(Role::Assistant, Some(stop), None, partial)
    }));
    let (cost, price_source) = (Some(MicroUsd(1_234)), Some("snapshot 2026-11".to_owned()));
    let model: ModelName = name("openai/gpt-5");
    let priced = UsageRecorded {
        turn: turn(),
        model,
        tokens: tokens(),
        cost,
        price_source,
        author: None,
        agent: None,
    };
    let unknown = UsageRecorded {
        tokens: Tokens { input: 5, output: 3, ..Tokens::default() },
        cost: None,
        price_source: None,
        ..priced.clone()
    };
    let anothers = UsageRecorded { author: Some(name("eve")), agent: Some(name("coder")), ..unknown.clone() };
    events.extend([priced, unknown, anothers].map(Event::UsageRecorded));
    events.push(Event::ContextCompacted(ContextCompacted {
        turn: turn(),
        from: Seq(2),
        to: Seq(40),
        item: item(10),
        summary: "They spoke of the moon.".into(),
    }));
    events
}

fn tools() -> Vec<Event> {
    let approval = ApprovalId::from_bits(0x0193_4000_0004_7000_8000_0000_0000_0001);
    let called_on = |effect, ground| {
        Event::ToolCalled(ToolCalled {
            turn: turn(),
            item: item(4),
            call: call(),
            tool: name("shell"),
            arguments: json!({"command": "ls"}),
            hash: "ab".repeat(32),
            effect,
            ground,
        })
    };
    let called = |effect| called_on(effect, Ground::Policy);
    let grounds =
        [Ground::Approval { approval }, Ground::Rule { rule: "shell".into() }, Ground::AutoApproval];
    let bare = ToolFinished {
        turn: turn(),
        item: item(4),
        call: call(),
        outcome: ToolOutcome::Ok,
        content: vec![Part::text("a.txt")],
        data: None,
        truncated: false,
        output: None,
        duration_ms: 12,
    };
    let output = Some(BlobRef { media_type: "text/plain; charset=utf-8".into(), ..super::blob() });
    let full = ToolFinished { data: Some(json!({"exit": 0})), truncated: true, output, ..bare.clone() };
    let mut events: Vec<_> = [Effect::Read, Effect::Idempotent, Effect::Effect].map(called).into();
    events.extend(grounds.map(|ground| called_on(Effect::Effect, ground)));
    events.push(Event::ToolFinished(full));
    let outcomes = [
        ToolOutcome::Ok,
        ToolOutcome::Error,
        ToolOutcome::Denied,
        ToolOutcome::Cancelled,
        ToolOutcome::Unknown,
    ];
    events.extend(outcomes.map(|outcome| Event::ToolFinished(ToolFinished { outcome, ..bare.clone() })));
    events
}

fn terms(spend: Allowance) -> Terms {
    Terms { chain: vec![name("main")], policy: PolicyPreset::Ask, spend }
}

fn delegations() -> Vec<Event> {
    let spend = Allowance { cost: Some(MicroUsd(40)), tokens: Some(1_000), calls: Some(5) };
    let started = |spend| {
        Event::DelegationStarted(DelegationStarted {
            turn: turn(),
            call: call(),
            item: item(4),
            child: session(),
            input: input(),
            agent: name("scout"),
            model: name("openai/gpt-5"),
            task: "Look for the moon.".into(),
            terms: terms(spend),
        })
    };
    let finished = |usage| {
        Event::DelegationFinished(DelegationFinished { turn: turn(), call: call(), child: session(), usage })
    };
    let begun = SessionCreated {
        owner: name("bob"),
        namespace: name("user:bob"),
        agent: name("scout"),
        alias: None,
        title: None,
        metadata: Metadata::new(),
        parent: Some(Parent { session: session(), turn: turn(), call: call() }),
        terms: Some(terms(spend)),
    };
    vec![
        started(spend),
        started(Allowance::default()),
        Event::SessionCreated(begun),
        finished(usage()),
        finished(unpriced()),
    ]
}

fn people() -> Vec<Event> {
    let approval = ApprovalId::from_bits(0x0193_4000_0004_7000_8000_0000_0000_0001);
    let question = QuestionId::from_bits(0x0193_4000_0005_7000_8000_0000_0000_0001);
    let rule = |scope| RememberRule { scope, rule: "shell {\"command\":\"ls\"}".into() };
    let denied = ApprovalResolved {
        turn: turn(),
        approval,
        decision: Decision::Deny,
        arguments: None,
        hash: None,
        reason: None,
        by: name("gateway"),
        remember: None,
    };
    let approved = |scope| ApprovalResolved {
        decision: Decision::Approve,
        arguments: Some(json!({"command": "ls -l"})),
        hash: Some("ef".repeat(32)),
        reason: Some("fine".into()),
        remember: Some(rule(scope)),
        ..denied.clone()
    };
    let asked = QuestionAsked {
        turn: turn(),
        question,
        text: "Which colour?".into(),
        form: Some(json!({"type": "object", "properties": {"colour": {"type": "string"}}})),
        expires_at: at(),
    };
    let needs = |requirement| {
        Event::ApprovalRequested(ApprovalRequested {
            turn: turn(),
            approval,
            call: call(),
            tool: name("shell"),
            arguments: json!({"command": "ls"}),
            requirement,
            plan: "shell {\"command\":\"ls\"}".into(),
            preview: (requirement == Requirement::Always).then(|| "-old\n+new\n".into()),
            reason: "it runs a program".into(),
            hash: "cd".repeat(32),
            expires_at: at(),
        })
    };
    vec![
        needs(Requirement::Never),
        needs(Requirement::UnlessAutoApproved),
        needs(Requirement::Always),
        Event::ApprovalResolved(approved(RememberScope::Session)),
        Event::ApprovalResolved(approved(RememberScope::Agent)),
        Event::ApprovalResolved(denied),
        Event::QuestionAsked(asked.clone()),
        Event::QuestionAsked(QuestionAsked { form: None, ..asked }),
        Event::QuestionAnswered(QuestionAnswered {
            turn: turn(),
            question,
            answers: json!({"colour": "blue"}),
            by: name("bob"),
        }),
    ]
}

fn programs() -> Vec<Event> {
    let phases = [Phase::Interview, Phase::Seed, Phase::Execute, Phase::Evaluate, Phase::Evolve];
    let entered = |phase| Event::PhaseEntered(PhaseEntered { turn: turn(), phase, note: None });
    let mut events: Vec<_> = phases.map(entered).into();
    let note = Some("round 2".to_owned());
    events.push(Event::PhaseEntered(PhaseEntered { turn: turn(), phase: Phase::Evolve, note }));
    events.push(Event::SeedCrystallised(SeedCrystallised {
        turn: turn(),
        goal: "Reach the moon".into(),
        constraints: vec!["by Friday".into()],
        criteria: vec!["we are there".into()],
    }));
    events.push(Event::EvaluationFinished(EvaluationFinished {
        turn: turn(),
        passed: false,
        score: 0.25,
        notes: vec![CriterionNote {
            criterion: "we are there".into(),
            passed: false,
            note: "not yet".into(),
        }],
    }));
    events
}

fn ends() -> Vec<Event> {
    let completed = TurnCompleted { turn: turn(), usage: usage(), stop_reason: StopReason::EndTurn };
    vec![
        Event::TurnCompleted(completed.clone()),
        Event::TurnCompleted(TurnCompleted { usage: unpriced(), ..completed }),
        Event::TurnFailed(TurnFailed {
            turn: turn(),
            code: ErrorCode::ProviderCut,
            message: "the provider's stream ended without an end".into(),
            retryable: true,
            usage: unpriced(),
        }),
        Event::TurnCancelled(TurnCancelled {
            turn: turn(),
            by: name("bob"),
            stopped: vec!["model".into(), "call_1".into()],
            reason: CancelReason::Cancel,
            usage: usage(),
        }),
        Event::TurnCancelled(TurnCancelled {
            turn: turn(),
            by: name("bob"),
            stopped: vec!["session".into()],
            reason: CancelReason::Abort,
            usage: usage(),
        }),
    ]
}
