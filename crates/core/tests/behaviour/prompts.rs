//! Prompts of logs nobody would write: the rules of every provider hold for any prefix of any log.

use std::collections::HashSet;

use moongate_core::testing;
use moongate_protocol::{
    CallId, ContextCompacted, Effect, Envelope, Epoch, ErrorCode, Event, Ground, InputAccepted, InputId,
    InputWithdrawn, ItemId, MessageCompleted, Overlap, Part, Role, Seq, SessionCreated, SessionForked,
    SessionId, StopReason, Timestamp, ToolCalled, ToolFinished, ToolOutcome, TurnCancelled, TurnCompleted,
    TurnFailed, TurnId, TurnStarted, UsageTotal,
};
use moongate_testkit::validators::validate;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

/// Few ids, so that they meet.
fn call() -> impl Strategy<Value = CallId> {
    select(vec!["a", "b", "c"]).prop_map(|id| id.parse().unwrap())
}

fn item() -> impl Strategy<Value = ItemId> {
    (1_u128..4).prop_map(ItemId::from_bits)
}

fn input() -> impl Strategy<Value = InputId> {
    (1_u128..5).prop_map(InputId::from_bits)
}

fn text() -> impl Strategy<Value = Part> {
    select(vec!["", " \n", "hello", "世界"]).prop_map(Part::text)
}

fn part() -> impl Strategy<Value = Part> {
    let reasoning = (item(), select(vec!["", "hm"])).prop_map(|(item, text)| Part::Reasoning {
        item,
        text: text.into(),
        signature: None,
    });
    let tool_call = (item(), call()).prop_map(|(item, call)| Part::ToolCall {
        item,
        call,
        tool: "look".into(),
        arguments: json!({}),
    });
    prop_oneof![3 => text(), 2 => reasoning, 3 => tool_call]
}

/// What only inputs have: what a person says, or the result of a call that may be open.
fn input_part() -> impl Strategy<Value = Part> {
    let result = (call(), vec(part(), 0..3), any::<bool>())
        .prop_map(|(call, content, is_error)| Part::ToolResult { call, content, is_error });
    prop_oneof![2 => part(), 3 => result]
}

fn message() -> impl Strategy<Value = Event> {
    let role = prop_oneof![4 => Just(Role::Assistant), 1 => Just(Role::User)];
    (role, vec(part(), 0..5), any::<bool>(), proptest::option::of(input())).prop_map(
        |(role, parts, partial, input)| {
            let input = input.filter(|_| role == Role::User);
            Event::MessageCompleted(MessageCompleted {
                turn: TurnId::from_bits(1),
                item: ItemId::from_bits(9),
                role,
                parts,
                stop_reason: Some(StopReason::EndTurn),
                input,
                partial,
            })
        },
    )
}

fn tool() -> impl Strategy<Value = Event> {
    let outcome = select(vec![ToolOutcome::Ok, ToolOutcome::Error, ToolOutcome::Unknown]);
    let turn = TurnId::from_bits(1);
    let finished =
        (item(), call(), outcome, vec(part(), 0..3)).prop_map(move |(item, call, outcome, content)| {
            let (data, truncated, duration_ms) = (None, false, 1);
            Event::ToolFinished(ToolFinished {
                turn,
                item,
                call,
                outcome,
                content,
                data,
                truncated,
                output: None,
                duration_ms,
            })
        });
    let called = (item(), call()).prop_map(move |(item, call)| {
        let (tool, arguments, hash) = ("look".parse().unwrap(), json!({}), String::new());
        let (effect, ground) = (Effect::Effect, Ground::Policy);
        Event::ToolCalled(ToolCalled { turn, item, call, tool, arguments, hash, effect, ground })
    });
    prop_oneof![finished, called]
}

fn turn() -> impl Strategy<Value = Event> {
    let (turn, usage) = (TurnId::from_bits(1), UsageTotal::default());
    let started = vec(input(), 0..3).prop_map(move |inputs| {
        let agent = moongate_protocol::AgentSnapshot {
            agent: "main".parse().unwrap(),
            model: "scripted/main".parse().unwrap(),
            policy_hash: String::new(),
        };
        Event::TurnStarted(TurnStarted { turn, inputs, agent, attempt: 1, fence: 1 })
    });
    let ends = vec![
        Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason: StopReason::EndTurn }),
        Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason: StopReason::ToolUse }),
        Event::TurnCancelled(TurnCancelled {
            turn,
            by: "bob".parse().unwrap(),
            stopped: vec![],
            reason: Default::default(),
            usage,
        }),
        Event::TurnFailed(TurnFailed {
            turn,
            code: ErrorCode::Internal,
            message: String::new(),
            retryable: true,
            usage,
        }),
    ];
    prop_oneof![2 => started, 1 => select(ends)]
}

fn event() -> impl Strategy<Value = Event> {
    let accepted = (input(), vec(input_part(), 0..4)).prop_map(|(input, parts)| {
        Event::InputAccepted(InputAccepted {
            input,
            author: "bob".parse().unwrap(),
            parts,
            overlap: Overlap::Queue,
            idempotency_key: None,
            overrides: Default::default(),
            client_tools: Vec::new(),
            metadata: Default::default(),
            agents: Vec::new(),
        })
    });
    let withdrawn =
        input().prop_map(|input| Event::InputWithdrawn(InputWithdrawn { input, by: "bob".parse().unwrap() }));
    let compacted =
        (1_u64..30, 0_u64..30, select(vec!["", "they talked"])).prop_map(|(from, more, summary)| {
            Event::ContextCompacted(ContextCompacted {
                turn: TurnId::from_bits(1),
                from: Seq(from),
                to: Seq(from + more),
                item: ItemId::from_bits(9),
                summary: summary.into(),
            })
        });
    let forked = Just(Event::SessionForked(SessionForked {
        from: SessionId::from_bits(2),
        at: Seq(1),
        by: "eve".parse().unwrap(),
    }));
    prop_oneof![
        4 => accepted,
        1 => withdrawn,
        5 => message(),
        4 => tool(),
        4 => turn(),
        1 => compacted,
        1 => forked,
    ]
}

fn log() -> impl Strategy<Value = Vec<Envelope>> {
    let created = Event::SessionCreated(SessionCreated {
        owner: "bob".parse().unwrap(),
        namespace: "user:bob".parse().unwrap(),
        agent: "main".parse().unwrap(),
        alias: None,
        title: None,
        metadata: Default::default(),
        parent: None,
        terms: None,
    });
    vec(event(), 0..40).prop_map(move |events| {
        let events = std::iter::once(created.clone()).chain(events);
        let envelope = |(event, seq)| Envelope {
            epoch: Epoch(1),
            seq: Seq(seq),
            at: Timestamp::from_millis(0),
            session: SessionId::from_bits(1),
            event,
        };
        events.zip(1..).map(envelope).collect()
    })
}

/// A log in which each call is asked for once and ends once, by a client or here, as in every log that was written.
fn with_calls_once(log: Vec<Envelope>) -> Vec<Envelope> {
    let (mut asked, mut ended, mut clients) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut once = Vec::new();
    for mut envelope in log {
        let keep = match &mut envelope.event {
            Event::MessageCompleted(message) => {
                message.parts.retain(|part| match part {
                    Part::ToolCall { item, call, .. } => asked.insert((*item, call.clone())),
                    _ => true,
                });
                true
            }
            Event::InputAccepted(input) => {
                clients.extend(input.parts.iter().filter_map(|part| match part {
                    Part::ToolResult { call, .. } => Some(call.clone()),
                    _ => None,
                }));
                true
            }
            Event::ToolFinished(finished) => {
                !clients.contains(&finished.call) && ended.insert((finished.item, finished.call.clone()))
            }
            Event::ToolCalled(called) => {
                !clients.contains(&called.call) && !ended.contains(&(called.item, called.call.clone()))
            }
            _ => true,
        };
        if keep {
            once.push(envelope);
        }
    }
    once
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_prompt_that_grows_with_its_log_is_the_one_built_from_all_of_it(log in log()) {
        let log = with_calls_once(log);
        let grown = testing::growing_prompts(&log).unwrap();
        for (end, grown) in (1..=log.len()).zip(grown) {
            prop_assert_eq!(grown, testing::prompt(&log[..end]).unwrap());
        }
    }

    #[test]
    fn the_prompt_of_any_prefix_of_any_log_is_valid_for_every_provider(log in log()) {
        for end in 1..=log.len() {
            let prompt = testing::prompt(&log[..end]).unwrap();
            prop_assert_eq!(validate(&prompt), Ok(()), "{:#?}", prompt);
        }
    }
}
