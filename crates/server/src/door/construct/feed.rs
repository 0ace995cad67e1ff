//! From the events of all sessions to what the event stream says of them.

use std::collections::HashMap;

use moongate_core::Record;
use moongate_protocol::{
    AgentName, ApprovalId, CallId, Decision, Envelope, Event, MessageCompleted, Part, Seq, SessionId,
    Timestamp, ToolOutcome, TurnId, TurnStarted, UsageTotal,
};
use serde::Serialize;

use super::{
    agents::{AgentNews, Agents, Said},
    problems, summary,
    turn::{split, split_name},
    webhook::KEYED,
};

/// Turns that are remembered; past it the oldest are forgotten, and their ends say less.
const TURNS: usize = 10_000;

/// Where an event stands among all that are told: its time, its session, its place in the log, and which of the
/// stream's events it is of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub(super) at: Timestamp,
    pub(super) session: SessionId,
    pub(super) seq: Seq,
    pub(super) part: u8,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}.{}", self.at.as_millis(), self.session, self.seq, self.part)
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('.').collect();
        let [at, session, seq, part] = parts[..] else { return Err(()) };
        Ok(Self {
            at: Timestamp::from_millis(at.parse().map_err(drop)?),
            session: session.parse().map_err(drop)?,
            seq: Seq(seq.parse().map_err(drop)?),
            part: part.parse().map_err(drop)?,
        })
    }
}

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct News {
    #[serde(flatten)]
    pub(super) what: What,
    pub(super) timestamp: Timestamp,
    pub(super) session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum What {
    AgentStart { provider: String, model: String, agent: String },
    AgentEnd(AgentEnd),
    LlmRequest { provider: String, model: String },
    ToolCallStart { tool: String },
    ToolCall { tool: String, duration: f64, duration_ms: u64, success: bool },
    Error { component: &'static str, message: String, code: &'static str },
    ChannelEvent { payload: Box<AgentNews> },
    HumanApprovalRequest(Box<ApprovalRequest>),
    HumanApprovalResolved { run_id: ApprovalId, approved: bool },
    Lagged { missed: Option<u64> },
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct AgentEnd {
    provider: String,
    model: String,
    duration_ms: u64,
    tokens_used: Option<u64>,
    cost_usd: Option<f64>,
    status: &'static str,
}

/// Somebody has to decide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ApprovalRequest {
    run_id: ApprovalId,
    step_id: String,
    workflow_name: String,
    title: String,
    message: String,
}

/// A turn that runs.
struct Running {
    turn: TurnId,
    began: Timestamp,
    model: String,
    tools: HashMap<CallId, String>,
    /// Calls without an end; the model is asked again after the last.
    open: usize,
}

/// What the stream knows of the turns that run.
#[derive(Default)]
pub(super) struct Feed {
    running: HashMap<SessionId, Running>,
    agents: Agents,
}

/// A session, as the stream names it.
pub(super) struct Named<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// Who works in it, where it was begun for a call of the one that is named.
    pub(super) agent: Option<&'a AgentName>,
}

impl Feed {
    /// The turn whose beginning is missing: it has to be read before its events are told.
    pub(super) fn lacks(&self, record: &Record, named: &Named<'_>) -> Option<TurnId> {
        if named.agent.is_some() {
            return None;
        }
        let envelope = record.envelope().ok()?;
        let begins = matches!(envelope.event, Event::TurnStarted(_));
        let known =
            |turn: &TurnId| self.running.get(&envelope.session).is_some_and(|running| running.turn == *turn);
        envelope.event.turn().filter(|turn| !begins && !known(turn))
    }

    /// What the stream says of an event.
    pub(super) fn take(&mut self, record: &Record, named: &Named<'_>) -> Vec<(Cursor, News)> {
        let Ok(envelope) = record.envelope() else { return Vec::new() };
        let said = self.agents.take(envelope, named.agent).into_iter().filter_map(Said::news);
        let mut whats: Vec<_> =
            said.map(|payload| What::ChannelEvent { payload: Box::new(payload) }).collect();
        if named.agent.is_none() {
            whats.extend(self.whats(envelope, named));
        }
        let (at, session, seq) = (envelope.at, envelope.session, envelope.seq);
        let news = |(part, what)| {
            let news = News {
                what,
                timestamp: at,
                session_id: Some(named.id.to_owned()),
                turn_id: envelope.event.turn(),
                cursor: None,
            };
            (Cursor { at, session, seq, part }, news)
        };
        (0..=u8::MAX).zip(whats).map(news).collect()
    }

    fn whats(&mut self, envelope: &Envelope, named: &Named<'_>) -> Vec<What> {
        match &envelope.event {
            Event::TurnStarted(started) => self.begin(started, envelope),
            Event::TurnCompleted(end) => self.end(envelope, &end.usage, "ok"),
            Event::TurnCancelled(end) => self.end(envelope, &end.usage, "aborted"),
            Event::TurnFailed(end) => {
                let class = problems::class(end.code);
                let component = if named.id.starts_with(KEYED) { "webhook" } else { "ws_chat" };
                let error = What::Error { component, message: class.message.to_owned(), code: class.code };
                let mut whats = vec![error];
                whats.extend(self.end(envelope, &end.usage, "error"));
                whats
            }
            Event::SessionDeleted(_) => {
                self.running.remove(&envelope.session);
                Vec::new()
            }
            event => match self.running.get_mut(&envelope.session) {
                Some(running) => running.whats(event, named),
                None => Vec::new(),
            },
        }
    }

    fn begin(&mut self, started: &TurnStarted, envelope: &Envelope) -> Vec<What> {
        if self.running.len() >= TURNS {
            self.running.clear();
        }
        let running = Running {
            turn: started.turn,
            began: envelope.at,
            model: started.agent.model.to_string(),
            tools: HashMap::new(),
            open: 0,
        };
        self.running.insert(envelope.session, running);
        let (provider, model) = split(&started.agent.model);
        let (provider, model) = (provider.to_owned(), model.to_owned());
        let agent = started.agent.agent.to_string();
        let start = What::AgentStart { provider: provider.clone(), model: model.clone(), agent };
        vec![start, What::LlmRequest { provider, model }]
    }

    fn end(&mut self, envelope: &Envelope, usage: &UsageTotal, status: &'static str) -> Vec<What> {
        let running = self.running.remove(&envelope.session);
        let (provider, model) = split_name(running.as_ref().map_or("", |running| running.model.as_str()));
        let began = running.as_ref().map_or(envelope.at, |running| running.began);
        let tokens = usage.tokens.input.saturating_add(usage.tokens.output);
        let reported = tokens > 0;
        #[expect(clippy::cast_precision_loss, reason = "an amount of money far below 2^53 micro-dollars")]
        let cost_usd = usage.cost.filter(|_| reported).map(|cost| cost.0 as f64 / 1_000_000.0);
        vec![What::AgentEnd(AgentEnd {
            provider: provider.to_owned(),
            model: model.to_owned(),
            duration_ms: u64::try_from(envelope.at.since(began).as_millis()).unwrap_or(u64::MAX),
            tokens_used: reported.then_some(tokens),
            cost_usd,
            status,
        })]
    }
}

impl Running {
    fn whats(&mut self, event: &Event, named: &Named<'_>) -> Vec<What> {
        match event {
            Event::MessageCompleted(message) => {
                self.calls(message);
                Vec::new()
            }
            Event::ToolCalled(called) => {
                self.tools.insert(called.call.clone(), called.tool.to_string());
                vec![What::ToolCallStart { tool: called.tool.to_string() }]
            }
            Event::ToolFinished(finished) => {
                let tool = self.tools.get(&finished.call).cloned().unwrap_or_default();
                let success = finished.outcome == ToolOutcome::Ok;
                #[expect(clippy::cast_precision_loss, reason = "a duration far below 2^53 milliseconds")]
                let duration = finished.duration_ms as f64 / 1000.0;
                let duration_ms = finished.duration_ms;
                let mut whats = vec![What::ToolCall { tool, duration, duration_ms, success }];
                self.open = self.open.saturating_sub(1);
                if self.open == 0 {
                    let (provider, model) = split_name(&self.model);
                    let (provider, model) = (provider.to_owned(), model.to_owned());
                    whats.push(What::LlmRequest { provider, model });
                }
                whats
            }
            Event::UsageRecorded(usage) => {
                self.model = usage.model.to_string();
                Vec::new()
            }
            Event::ApprovalRequested(asked) => {
                vec![What::HumanApprovalRequest(Box::new(ApprovalRequest {
                    run_id: asked.approval,
                    step_id: asked.call.to_string(),
                    workflow_name: named.title.to_owned(),
                    title: format!("Approval needed for {}", asked.tool),
                    message: summary::of(&asked.arguments),
                }))]
            }
            Event::ApprovalResolved(resolved) => {
                let approved = resolved.decision == Decision::Approve;
                vec![What::HumanApprovalResolved { run_id: resolved.approval, approved }]
            }
            _ => Vec::new(),
        }
    }

    fn calls(&mut self, message: &MessageCompleted) {
        for part in &message.parts {
            if let Part::ToolCall { call, tool, .. } = part {
                self.tools.insert(call.clone(), tool.clone());
                self.open += 1;
            }
        }
    }
}

impl News {
    /// Events are missing.
    pub(super) fn lagged(missed: Option<u64>, now: Timestamp) -> Self {
        let what = What::Lagged { missed };
        Self { what, timestamp: now, session_id: None, turn_id: None, cursor: None }
    }
}
