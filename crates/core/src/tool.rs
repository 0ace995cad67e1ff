//! What the engine asks of a tool.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use jsonschema::{PatternOptions, Validator};
use moongate_protocol::{
    AgentName, CallId, Namespace, Part, Principal, Requirement, SessionId, Tenant, ToolName, ToolOutcome,
    ToolSpec, TurnId,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Outputs;

/// The right to run one call once. Made only where calls are started, after the policy and a durable
/// `tool.called`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Grant {
    /// Where, and for whom.
    pub place: Place,
    /// Which call; the idempotency key for whatever the tool talks to.
    pub call: CallId,
    /// The arguments that were approved.
    pub arguments: Value,
    /// SHA-256 over what the call works on, where a person saw that: see [`PlanNote`]. A tool that plans runs the call
    /// only while it is the same.
    pub operands: Option<[u8; 32]>,
    /// Fires when the call has to stop.
    pub cancel: CancellationToken,
    /// Where live output goes; may be dropped or full, the result is what counts.
    pub output: mpsc::Sender<String>,
    /// What earlier calls of the session said at length.
    pub outputs: Outputs,
}

impl Grant {
    /// Only `turn::calls` makes one.
    pub(crate) fn new(
        place: Place,
        bound: Bound,
        cancel: CancellationToken,
        output: mpsc::Sender<String>,
        outputs: Outputs,
    ) -> Self {
        let Bound { call, arguments, operands } = bound;
        Self { place, call, arguments, operands, cancel, output, outputs }
    }
}

/// What a grant is for, and nothing else.
pub(crate) struct Bound {
    pub(crate) call: CallId,
    pub(crate) arguments: Value,
    pub(crate) operands: Option<[u8; 32]>,
}

/// Where a call runs, and for whom.
#[derive(Clone, Debug)]
pub struct Place {
    /// Behind which wall.
    pub tenant: Tenant,
    /// The session's namespace.
    pub namespace: Namespace,
    /// Who set the turn off.
    pub author: Principal,
    /// Which agent asks.
    pub agent: AgentName,
    /// For which session.
    pub session: SessionId,
    /// In which turn.
    pub turn: TurnId,
}

/// What one call reaches for, read from its arguments alone, so that the policy can tell one call of a tool from
/// another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Whatever it is: only the tool's effect speaks of it.
    #[default]
    Anything,
    /// Files of the workspace, by their paths beneath it, without `.` and `..`.
    Files(Vec<String>),
    /// A program, by its argument vector.
    Command(Vec<String>),
    /// A host of the network, in lower case and without its port.
    Host(String),
}

/// What a call would do as things are, looked up before a person is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNote {
    /// What would change, for the person: lines of text.
    pub preview: String,
    /// SHA-256 over what the call works on. A person's yes is for that; when it is another by the time the call would
    /// run, the call does not.
    pub operands: [u8; 32],
}

/// What a tool answers. A failure is an answer too.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// How it ended.
    pub outcome: ToolOutcome,
    /// What the model is told.
    pub content: Vec<Part>,
    /// The tool's own result data.
    pub data: Option<Value>,
    /// The bytes of the content's images and files, which it names by their hash: they are kept before the result is
    /// written. What the content names and is not here is not shown.
    pub attachments: Box<[Bytes]>,
}

impl ToolResult {
    /// Success, in words.
    pub fn ok(text: impl Into<String>) -> Self {
        Self::ended(ToolOutcome::Ok, text)
    }

    /// Any other ending, in words.
    pub fn ended(outcome: ToolOutcome, text: impl Into<String>) -> Self {
        Self { outcome, content: vec![Part::text(text)], data: None, attachments: Box::default() }
    }
}

/// A tool.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What a model is told about it.
    fn spec(&self) -> &ToolSpec;

    /// Whether its calls need a person's word where the policy alone would let them run.
    fn requirement(&self) -> Requirement {
        Requirement::Never
    }

    /// What a call with these arguments reaches for. They passed the tool's schema.
    fn reach(&self, _arguments: &Value) -> Reach {
        Reach::Anything
    }

    /// Looks at what a call would do as things are, before a person is asked. Changes nothing.
    ///
    /// # Errors
    /// The call's result, where it cannot be done: nobody is asked about it then.
    async fn plan(&self, _place: &Place, _arguments: &Value) -> Result<Option<PlanNote>, ToolResult> {
        Ok(None)
    }

    /// Runs one call. Ends soon after `grant.cancel` fires.
    async fn run(&self, grant: Grant) -> ToolResult;
}

/// The tools an operator configured, by name, and the servers outside that some of them come from.
#[derive(Clone, Default)]
pub struct Toolbox {
    tools: Arc<BTreeMap<ToolName, Kept>>,
    servers: Arc<[ToolServer]>,
}

/// A server outside that tools come from, as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolServer {
    /// What the operator calls it.
    pub name: String,
    /// How it is.
    pub state: ServerState,
    /// How many of the toolbox's tools are its.
    pub tools: usize,
    /// Those of them whose definition changed, so that an operator has to look at them before they run.
    pub changed: Vec<ToolName>,
}

/// How a server outside is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It is being started, or connected to, for the first time.
    Starting,
    /// It answers.
    Up,
    /// It does not; why, in words, without a secret.
    Down(String),
}

struct Kept {
    tool: Arc<dyn Tool>,
    /// What checks its arguments, made when the first ones come; or why nothing can.
    schema: OnceLock<Result<Validator, String>>,
}

impl Kept {
    fn new(tool: Arc<dyn Tool>) -> Self {
        Self { tool, schema: OnceLock::new() }
    }

    fn schema(&self) -> &Result<Validator, String> {
        self.schema.get_or_init(|| {
            // An engine without backtracking: arguments come from a model, and may be made to cost.
            let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
            options.build(&self.tool.spec().parameters).map_err(|fault| fault.to_string())
        })
    }
}

impl Toolbox {
    /// A box of these tools; a later one of the same name replaces an earlier one.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        let kept = tools.into_iter().map(|tool| (tool.spec().name.clone(), Kept::new(tool)));
        Self { tools: Arc::new(kept.collect()), servers: Arc::default() }
    }

    /// The same box, with the servers that some of its tools come from.
    #[must_use]
    pub fn served_by(self, servers: Vec<ToolServer>) -> Self {
        Self { servers: servers.into(), ..self }
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.get(name).map(|kept| &kept.tool)
    }

    /// Every tool.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.tools.values().map(|kept| &kept.tool)
    }

    /// The servers outside that some of the tools come from.
    pub fn servers(&self) -> &[ToolServer] {
        &self.servers
    }

    /// Whether a tool takes these arguments.
    ///
    /// # Errors
    /// What is wrong with them, in words a model can act on.
    pub(crate) fn check(&self, name: &str, arguments: &Value) -> Result<(), String> {
        let Some(kept) = self.tools.get(name) else { return Err(format!("There is no tool named {name}.")) };
        if !arguments.is_object() {
            return Err("The arguments are not a JSON object.".into());
        }
        let schema = kept.schema().as_ref();
        let schema = schema.map_err(|fault| format!("The tool's schema is not one: {fault}"))?;
        schema.validate(arguments).map_err(|fault| {
            let place = fault.instance_path().to_string();
            let place =
                if place.is_empty() { "The arguments".into() } else { format!("The argument {place}") };
            format!("{place} cannot be used: {}", fault.masked_with("it"))
        })
    }
}
