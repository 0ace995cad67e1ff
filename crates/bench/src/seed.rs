//! Fills a data folder with stored sessions, for the time a start takes among many.

use std::{path::PathBuf, sync::Arc, time::Instant};

use moongate_core::{Append, Ids, Record, SessionRow, Store, Summary, SystemClock, SystemEntropy};
use moongate_protocol::{
    AgentSnapshot, Envelope, Event, InputAccepted, InputId, ItemId, MessageCompleted, MicroUsd, Overlap,
    Overrides, Part, Role, Seq, SessionCreated, SessionId, StopReason, Tokens, TurnCompleted, TurnId,
    TurnStarted, UsageRecorded, UsageTotal,
};
use moongate_store::SqliteStore;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{Fault, runtime, say};

/// Sessions written at once: the store commits them together.
const AT_ONCE: usize = 1024;

/// What to fill.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The data folder
    #[arg(long)]
    data: PathBuf,
    /// How many sessions, each with one finished turn
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    sessions: usize,
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    let began = Instant::now();
    runtime()?.block_on(fill(options))?;
    let report = Report { sessions: options.sessions, seconds: began.elapsed().as_secs_f64() };
    say(&serde_json::to_string(&report)?);
    Ok(())
}

async fn fill(options: &Options) -> Result<(), Fault> {
    let store = SqliteStore::open(&options.data)?;
    let ids = Ids::new(Arc::new(SystemClock), Arc::new(SystemEntropy));
    let mut writing: JoinSet<Result<(), Fault>> = JoinSet::new();
    for number in 0..options.sessions {
        if writing.len() >= AT_ONCE
            && let Some(written) = writing.join_next().await
        {
            written??;
        }
        let (store, append) = (Arc::clone(&store), session(&ids, store.fence(), number)?);
        writing.spawn(async move { Ok(store.append(append).await?) });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    store.close().await;
    Ok(())
}

/// A session's whole log.
fn session(ids: &Ids, fence: moongate_core::Fence, number: usize) -> Result<Append, Fault> {
    let (session, epoch, at) = (ids.make(SessionId::new), ids.epoch(), ids.now());
    let envelopes: Vec<Envelope> = (1..)
        .zip(events(ids, fence.0, number)?)
        .map(|(seq, event)| Envelope { epoch, seq: Seq(seq), at, session, event })
        .collect();
    let view = Summary::fold(&envelopes).ok_or("a log begins with session.created")?.view().clone();
    let row = SessionRow { tenant: "default".parse()?, door: "native".into(), view };
    let records = envelopes.into_iter().map(|envelope| Arc::new(Record::new(envelope))).collect();
    Ok(Append { fence, expected: Seq::ZERO, records, row, idempotency: None })
}

fn events(ids: &Ids, fence: u64, number: usize) -> Result<Vec<Event>, Fault> {
    let (turn, input) = (ids.make(TurnId::new), ids.make(InputId::new));
    let tokens = Tokens { input: 40, output: 20, ..Tokens::default() };
    let mut usage = UsageTotal::default();
    usage.add_call(tokens, Some(MicroUsd(0)));
    let agent = AgentSnapshot {
        agent: "default".parse()?,
        model: "mock/mock-20t-0ms".parse()?,
        policy_hash: String::new(),
    };
    let text = |text: String| vec![Part::Text { text }];
    Ok(vec![
        Event::SessionCreated(SessionCreated {
            owner: "admin".parse()?,
            namespace: "user:admin".parse()?,
            agent: agent.agent.clone(),
            alias: None,
            title: None,
            metadata: Default::default(),
            parent: None,
            terms: None,
        }),
        Event::InputAccepted(InputAccepted {
            input,
            author: "admin".parse()?,
            parts: text(format!("What is the square of {number}?")),
            overlap: Overlap::Queue,
            idempotency_key: None,
            overrides: Overrides::default(),
            client_tools: Vec::new(),
            metadata: Default::default(),
            agents: Vec::new(),
        }),
        Event::TurnStarted(TurnStarted {
            turn,
            inputs: vec![input],
            agent: agent.clone(),
            attempt: 1,
            fence,
        }),
        Event::MessageCompleted(MessageCompleted {
            turn,
            item: ids.make(ItemId::new),
            role: Role::Assistant,
            parts: text(format!("The square of {number} is {}.", number * number)),
            stop_reason: Some(StopReason::EndTurn),
            input: None,
            partial: false,
        }),
        Event::UsageRecorded(UsageRecorded {
            turn,
            model: agent.model,
            tokens,
            cost: Some(MicroUsd(0)),
            price_source: None,
            author: None,
            agent: None,
        }),
        Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason: StopReason::EndTurn }),
    ])
}
