//! Asking a model through the registry, and what was heard.

use std::{env, sync::Arc, time::Duration};

use moongate_core::{Fault, Model, ModelRequest, ModelStream, Models, Piece, PromptMessage, SharedMessage};
use moongate_protocol::{
    CallId, Effect, ErrorCode, ItemId, ModelName, Part, ReasoningSignature, StopReason, Tokens, ToolSpec,
    WaitingOn,
};
use moongate_providers::{PriceTable, ProviderConfig, Registry, RetryPolicy, Timeouts, Wire};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::{Instant, timeout};

/// No call here takes longer, whatever the upstream does.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Waits short enough that a stalled upstream is noticed while a test runs.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    header: Duration::from_millis(2500),
    idle: Duration::from_millis(2500),
    total: Duration::from_secs(20),
};

/// The product's policy in short: waits grow, their number and sum are bounded.
pub(crate) const RETRIES: RetryPolicy = RetryPolicy {
    attempts: 4,
    budget: Duration::from_secs(20),
    first_wait: Duration::from_millis(200),
    longest_wait: Duration::from_secs(2),
};

/// The address the environment names; the task that runs these tests sets it.
pub(crate) fn address(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask e2e`"))
}

/// A provider at this base address that is never asked twice.
pub(crate) fn provider(wire: Wire, base: &str) -> ProviderConfig {
    let mut config = ProviderConfig::new(wire.as_str(), wire, base.parse().expect("an address"));
    config.key = Some(SecretString::from("sk-third-party-test"));
    config.timeouts = TIMEOUTS;
    config.retry = RetryPolicy::NEVER;
    config
}

/// One of a provider's models.
pub(crate) fn model(config: ProviderConfig, model: &str) -> Arc<dyn Model> {
    let name: ModelName = format!("{}/{model}", config.name).parse().expect("a model's name");
    let registry = Registry::new([config], PriceTable::default()).expect("a registry");
    registry.get(&name).expect("a model")
}

/// A request of one sentence.
pub(crate) fn prompt(text: &str) -> ModelRequest {
    ModelRequest {
        messages: Arc::new(vec![share(PromptMessage::User(vec![Part::text(text)]))]),
        ..ModelRequest::default()
    }
}

fn share(message: PromptMessage) -> Arc<SharedMessage> {
    Arc::new(message.into())
}

/// A tool that takes an object of these properties, all of them required.
pub(crate) fn tool(name: &str, properties: &Value) -> ToolSpec {
    let required: Vec<&String> = properties.as_object().expect("an object").keys().collect();
    ToolSpec {
        name: name.parse().expect("a tool's name"),
        description: format!("Does what {name} says."),
        parameters: serde_json::json!({"type": "object", "properties": properties, "required": required}),
        effect: Effect::Read,
    }
}

/// The request that follows an answer with tool calls: every call gets this result.
pub(crate) fn with_results(mut request: ModelRequest, heard: &Heard, result: &str) -> ModelRequest {
    let ids = |at: usize| -> (ItemId, CallId) {
        (ItemId::from_bits(100 + at as u128), format!("call_{at}").parse().expect("a call id"))
    };
    let part = |(at, call): (usize, &Call)| {
        let (item, id) = ids(at);
        Part::ToolCall { item, call: id, tool: call.tool.clone(), arguments: call.json() }
    };
    let said = heard.calls.iter().enumerate().map(part).collect();
    Arc::make_mut(&mut request.messages).push(share(PromptMessage::Assistant(said)));
    for (at, call) in heard.calls.iter().enumerate() {
        Arc::make_mut(&mut request.messages).push(share(PromptMessage::ToolResult {
            call: ids(at).1,
            tool: call.tool.clone(),
            is_error: false,
            content: vec![Part::text(result)],
        }));
    }
    request
}

/// A tool call as it was heard.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) tool: String,
    pub(crate) arguments: String,
}

impl Call {
    /// The arguments as JSON; a plain string where they are none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::String(self.arguments.clone()))
    }
}

/// All of an answer.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) signatures: Vec<ReasoningSignature>,
    pub(crate) calls: Vec<Call>,
    pub(crate) usage: Option<Tokens>,
    pub(crate) waits: Vec<WaitingOn>,
    pub(crate) end: Result<StopReason, Fault>,
    pub(crate) took: Duration,
}

impl Heard {
    /// The fault's code; `None` for a complete answer.
    pub(crate) fn fault(&self) -> Option<ErrorCode> {
        self.end.as_ref().err().map(|fault| fault.code)
    }

    /// Each call's tool and arguments.
    pub(crate) fn called(&self) -> Vec<(&str, Value)> {
        self.calls.iter().map(|call| (call.tool.as_str(), call.json())).collect()
    }
}

/// Asks and listens to the end. Whatever the upstream does, the answer ends, once, in time.
pub(crate) async fn ask(model: &dyn Model, request: &ModelRequest) -> Heard {
    timeout(LONGEST_CALL, listen(model.call(request.clone().into()))).await.expect("the call ended in time")
}

async fn listen(mut stream: Box<dyn ModelStream>) -> Heard {
    let begun = Instant::now();
    let mut heard = Heard {
        text: String::new(),
        reasoning: String::new(),
        signatures: Vec::new(),
        calls: Vec::new(),
        usage: None,
        waits: Vec::new(),
        end: Ok(StopReason::EndTurn),
        took: Duration::ZERO,
    };
    loop {
        let mut pieces = Vec::new();
        stream.next(&mut pieces).await;
        assert!(!pieces.is_empty(), "a stream that says nothing would be polled for ever");
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            if let Some(end) = take(&mut heard, piece) {
                assert_eq!(at + 1, count, "nothing follows the end");
                (heard.end, heard.took) = (end, begun.elapsed());
                return heard;
            }
        }
    }
}

fn take(heard: &mut Heard, piece: Piece) -> Option<Result<StopReason, Fault>> {
    match piece {
        Piece::Waiting(on) => heard.waits.push(on),
        Piece::Working => {}
        Piece::Text(text) => heard.text.push_str(&text),
        Piece::Reasoning(text) => heard.reasoning.push_str(&text),
        Piece::ReasoningEnd { signature } => heard.signatures.extend(signature),
        Piece::ToolCallStart { slot, name } => {
            assert_eq!(slot as usize, heard.calls.len(), "slots are given in order");
            heard.calls.push(Call { tool: name, arguments: String::new() });
        }
        Piece::ToolCallArguments { slot, text } => heard.calls[slot as usize].arguments.push_str(&text),
        Piece::Usage(tokens) => heard.usage = Some(tokens),
        Piece::Finish(stop) => return Some(Ok(stop)),
        Piece::Fault(fault) => return Some(Err(fault)),
    }
    None
}
