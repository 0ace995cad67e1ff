//! What agents do that another one handed tasks to: from events of both sessions to what clients draw.

use std::collections::HashMap;

use moongate_protocol::{
    AgentName, ApprovalRequested, CallId, DelegationStarted, Envelope, Event, MessageCompleted, Part, Role,
    SessionId, Timestamp, ToolFinished, ToolOutcome, UsageTotal,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    frames::{AgentEvent, OperatorStatus, Phase, Word},
    summary,
    turn::split,
};

/// What such an agent is to the one that asked it.
const ROLE: &str = "delegate";

/// News of an agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentNews {
    r#type: Kind,
    /// The session it works in.
    agent_id: SessionId,
    agent_title: AgentName,
    content: Content,
    timestamp: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Kind {
    #[serde(rename = "agent.started")]
    Started,
    #[serde(rename = "agent.completed")]
    Completed,
    #[serde(rename = "agent.error")]
    Error,
    #[serde(rename = "agent.tool_use")]
    ToolUse,
    #[serde(rename = "agent.permission")]
    Permission,
    #[serde(rename = "agent.thinking")]
    Thinking,
    #[serde(rename = "agent.message")]
    Message,
    #[serde(rename = "agent.chat")]
    Chat,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Content {
    Started {
        provider: String,
        model: String,
        role: &'static str,
    },
    Completed {
        duration_s: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<UsageTotal>,
    },
    Error {
        error: String,
    },
    ToolUse {
        tool: String,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    Permission {
        tool: String,
        args: Value,
    },
    Text {
        text: String,
    },
}

/// Something clients are told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Status(OperatorStatus),
    News(AgentNews),
}

impl Said {
    /// As a frame.
    pub(super) fn word(self) -> Word {
        match self {
            Self::Status(status) => Word::OperatorStatus(status),
            Self::News(event) => Word::AgentEvent(Box::new(AgentEvent { event, session_id: String::new() })),
        }
    }

    /// The news of it, for those who are told nothing else.
    pub(super) fn news(self) -> Option<AgentNews> {
        match self {
            Self::Status(_) => None,
            Self::News(news) => Some(news),
        }
    }
}

/// An agent at work.
#[derive(Clone, Debug)]
struct Delegate {
    id: SessionId,
    title: AgentName,
    began: Timestamp,
    usage: Option<UsageTotal>,
}

impl Delegate {
    fn news(&self, r#type: Kind, content: Content, timestamp: Timestamp) -> Said {
        let (agent_id, agent_title) = (self.id, self.title.clone());
        Said::News(AgentNews { r#type, agent_id, agent_title, content, timestamp })
    }

    fn status(&self, phase: Phase, detail: String) -> Said {
        Said::Status(OperatorStatus { phase, detail, agent_id: Some(self.id) })
    }
}

/// The agents at work, and their calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    /// By the call that waits for them.
    delegates: HashMap<(SessionId, CallId), Delegate>,
    /// The names of their own tools.
    tools: HashMap<(SessionId, CallId), String>,
}

impl Agents {
    /// What is told of an event; `agent` works in its session, where that was begun for a call.
    pub(super) fn take(&mut self, envelope: &Envelope, agent: Option<&AgentName>) -> Vec<Said> {
        let mut said = match agent {
            Some(agent) => self.below(envelope, agent),
            None => Vec::new(),
        };
        said.extend(self.above(envelope));
        said
    }

    /// An event of the session that hands tasks on.
    fn above(&mut self, envelope: &Envelope) -> Vec<Said> {
        let (session, at) = (envelope.session, envelope.at);
        match &envelope.event {
            Event::DelegationStarted(started) => {
                let (id, title) = (started.child, started.agent.clone());
                let delegate = Delegate { id, title, began: at, usage: None };
                let said = begun(&delegate, started, at);
                self.delegates.insert((session, started.call.clone()), delegate);
                said
            }
            Event::DelegationFinished(finished) => {
                if let Some(delegate) = self.delegates.get_mut(&(session, finished.call.clone())) {
                    delegate.usage = Some(finished.usage);
                }
                Vec::new()
            }
            Event::ToolFinished(finished) => {
                let delegate = self.delegates.remove(&(session, finished.call.clone()));
                delegate.map_or_else(Vec::new, |delegate| ended(&delegate, finished, at))
            }
            event if event.ends_turn().is_some() || matches!(event, Event::SessionDeleted(_)) => {
                self.delegates.retain(|(of, _), _| *of != session);
                self.tools.retain(|(of, _), _| *of != session);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// An event of the session an agent works in.
    fn below(&mut self, envelope: &Envelope, agent: &AgentName) -> Vec<Said> {
        let (session, at) = (envelope.session, envelope.at);
        let delegate = Delegate { id: session, title: agent.clone(), began: at, usage: None };
        match &envelope.event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.message(&delegate, message, at)
            }
            Event::ToolCalled(called) => {
                let (tool, detail) = (called.tool.to_string(), Some(summary::of(&called.arguments)));
                let content = Content::ToolUse { tool, status: "running", detail, output: None };
                vec![delegate.news(Kind::ToolUse, content, at)]
            }
            Event::ToolFinished(finished) => {
                let tool = self.tools.remove(&(session, finished.call.clone())).unwrap_or_default();
                let status = if finished.outcome == ToolOutcome::Ok { "completed" } else { "error" };
                let output = Some(Part::join_text(&finished.content));
                let content = Content::ToolUse { tool, status, detail: None, output };
                vec![delegate.news(Kind::ToolUse, content, at)]
            }
            Event::ApprovalRequested(asked) => needs(&delegate, asked, at),
            _ => Vec::new(),
        }
    }

    fn message(&mut self, delegate: &Delegate, message: &MessageCompleted, at: Timestamp) -> Vec<Said> {
        let mut said = Vec::new();
        for part in &message.parts {
            match part {
                Part::Reasoning { text, .. } if !text.is_empty() => {
                    said.push(delegate.news(Kind::Thinking, Content::Text { text: text.clone() }, at));
                }
                Part::ToolCall { call, tool, .. } => {
                    self.tools.insert((delegate.id, call.clone()), tool.clone());
                }
                _ => {}
            }
        }
        let text = Part::join_text(&message.parts);
        if !text.is_empty() {
            said.push(delegate.news(Kind::Message, Content::Text { text }, at));
        }
        said
    }
}

fn begun(delegate: &Delegate, started: &DelegationStarted, at: Timestamp) -> Vec<Said> {
    let name = &delegate.title;
    let (provider, model) = split(&started.model);
    let (provider, model) = (provider.to_owned(), model.to_owned());
    vec![
        delegate.status(Phase::Spawning, format!("Starting {name}.")),
        delegate.status(Phase::Spawned, format!("{name} has started.")),
        delegate.news(Kind::Started, Content::Started { provider, model, role: ROLE }, at),
        delegate.status(Phase::Delegating, format!("Handing a task to {name}.")),
        delegate.news(Kind::Chat, Content::Text { text: started.task.clone() }, at),
        delegate.status(Phase::Waiting, format!("Waiting for {name}.")),
    ]
}

fn ended(delegate: &Delegate, finished: &ToolFinished, at: Timestamp) -> Vec<Said> {
    let name = &delegate.title;
    if finished.outcome != ToolOutcome::Ok {
        let error = Part::join_text(&finished.content);
        return vec![
            delegate.status(Phase::Failed, format!("{name} has failed.")),
            delegate.news(Kind::Error, Content::Error { error }, at),
        ];
    }
    let content =
        Content::Completed { duration_s: at.since(delegate.began).as_secs_f64(), usage: delegate.usage };
    vec![
        delegate.status(Phase::Completed, format!("{name} is done.")),
        delegate.news(Kind::Completed, content, at),
        delegate.status(Phase::Collecting, format!("Reading what {name} found.")),
        delegate.status(Phase::Collected, format!("The answer of {name} is read.")),
    ]
}

fn needs(delegate: &Delegate, asked: &ApprovalRequested, at: Timestamp) -> Vec<Said> {
    let (name, id, tool) = (&delegate.title, asked.approval, asked.tool.to_string());
    let detail = format!(
        "{name} needs approval for {tool}: {}. Reply /approve {id} or /deny {id}",
        summary::of(&asked.arguments)
    );
    let content = Content::Permission { tool, args: asked.arguments.clone() };
    vec![delegate.status(Phase::Blocked, detail), delegate.news(Kind::Permission, content, at)]
}
