//! The one place that starts tools: prepare, judge, write down, run, write down.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use moongate_protocol::{
    CallId, DeltaKind, Effect, Event, Ground, Part, ToolCalled, ToolFinished, ToolOutcome, WaitingOn,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::Instant};

use super::{Over, Step, Then, Turn, UNKNOWN_OUTCOME, Verdict, Work};
use crate::{
    Grant, Tool, ToolResult,
    feed::LivePiece,
    limits::{PARALLEL_TOOLS, TOOL_OUTPUT_SHOWN_BYTES},
    policy,
    session::PendingCall,
};

/// Pieces of live output that wait to be shown; when full, live output is dropped and the result says all.
const OUTPUT_PIECES: usize = 64;
/// How long a tool may take to stop after it was told to: less than the turn has, which writes down that it was
/// stopped.
const STOP_GRACE: Duration = Duration::from_secs(4);

/// A call that may run.
struct Prepared {
    call: PendingCall,
    tool: Arc<dyn Tool>,
}

impl Turn {
    /// Runs the calls of one message, several at once, and reports each result as it comes; the prompt has them in the model's order.
    pub(super) async fn run_calls(&self, calls: Vec<PendingCall>) -> Step<Work> {
        self.wait_for(WaitingOn::Tool);
        let mut stopped = Vec::new();
        let mut running =
            stream::iter(calls.into_iter().map(|call| self.run_call(call))).buffer_unordered(PARALLEL_TOOLS);
        // Each result is durable as soon as it is there, whatever its siblings do.
        while let Some(result) = running.next().await {
            let result = result?;
            if result.outcome == ToolOutcome::Cancelled {
                stopped.push(result.call.to_string());
            }
            match self.report(vec![Event::ToolFinished(result)], Then::Go).await? {
                Verdict::Go => {}
                Verdict::Stop | Verdict::Call(_) | Verdict::Compact(_) | Verdict::Ended => return Err(Over),
            }
        }
        drop(running);
        if self.cancel.is_cancelled() {
            return self.stop(stopped).await;
        }
        match self.report(Vec::new(), Then::CallModel).await? {
            Verdict::Call(work) => Ok(work),
            Verdict::Go | Verdict::Compact(_) | Verdict::Stop | Verdict::Ended => Err(Over),
        }
    }

    async fn run_call(&self, call: PendingCall) -> Step<ToolFinished> {
        let started = Instant::now();
        let (item, id) = (call.item, call.call.clone());
        let result = self.attempt(call).await?;
        let (content, truncated) = shown(result.content);
        Ok(ToolFinished {
            turn: self.id,
            item,
            call: id,
            outcome: result.outcome,
            content,
            data: result.data,
            truncated,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Everything that can become of a call is a result the model sees.
    async fn attempt(&self, call: PendingCall) -> Step<ToolResult> {
        if call.started == Some(Effect::Effect) {
            return Ok(ToolResult::ended(ToolOutcome::Unknown, UNKNOWN_OUTCOME));
        }
        let prepared = match self.prepare(call) {
            Ok(prepared) => prepared,
            Err(refused) => return Ok(refused),
        };
        let effect = prepared.tool.spec().effect;
        match policy::judge(self.setting.policy, effect) {
            policy::Verdict::Allow => {}
            policy::Verdict::Deny => {
                return Ok(ToolResult::ended(ToolOutcome::Denied, "The policy does not allow this call."));
            }
            policy::Verdict::Ask => {
                let words =
                    "This call needs a person's approval, and nobody can be asked on this server yet.";
                return Ok(ToolResult::ended(ToolOutcome::Denied, words));
            }
        }
        if prepared.call.started.is_none() {
            match self.report(vec![Event::ToolCalled(self.called(&prepared, effect))], Then::Go).await? {
                Verdict::Go => {}
                Verdict::Stop | Verdict::Call(_) | Verdict::Compact(_) | Verdict::Ended => {
                    return Ok(ToolResult::ended(ToolOutcome::Cancelled, "The turn was stopped before."));
                }
            }
        }
        Ok(self.run_tool(prepared).await)
    }

    fn prepare(&self, call: PendingCall) -> Result<Prepared, ToolResult> {
        let refuse = |text: String| Err(ToolResult::ended(ToolOutcome::Error, text));
        let shown = self.setting.agent.tools.iter().any(|name| name.as_str() == call.tool);
        let Some(tool) = self.setting.catalog.tools.get(&call.tool).filter(|_| shown) else {
            return refuse(format!("There is no tool named {}.", call.tool));
        };
        if !call.arguments.is_object() {
            return refuse("The arguments are not a JSON object.".into());
        }
        Ok(Prepared { tool: Arc::clone(tool), call })
    }

    fn called(&self, prepared: &Prepared, effect: Effect) -> ToolCalled {
        let tool = prepared.tool.spec().name.clone();
        let arguments = prepared.call.arguments.clone();
        let hash = call_hash(&prepared.call.call, tool.as_str(), &arguments);
        let (item, call) = (prepared.call.item, prepared.call.call.clone());
        ToolCalled { turn: self.id, item, call, tool, arguments, hash, effect, ground: Ground::Policy }
    }

    async fn run_tool(&self, prepared: Prepared) -> ToolResult {
        let (output, mut live) = mpsc::channel::<String>(OUTPUT_PIECES);
        let item = prepared.call.item;
        let name = prepared.call.tool;
        let place = (self.tenant.clone(), self.session, self.id);
        let cancel = self.cancel.child_token();
        let grant = Grant::new(place, prepared.call.call, prepared.call.arguments, cancel.clone(), output);
        let run = prepared.tool.run(grant);
        let show = async {
            while let Some(text) = live.recv().await {
                let tool = Some(name.as_str());
                self.feed
                    .write(self.id, &[LivePiece { item, kind: DeltaKind::ToolOutput, text: &text, tool }]);
            }
        };
        let limit = tokio::time::sleep(self.limits.tool_duration);
        tokio::pin!(run, show, limit);
        let mut showing = true;
        loop {
            tokio::select! {
                biased;
                () = &mut show, if showing => showing = false,
                result = &mut run => return result,
                () = self.cancel.cancelled() => {
                    // Told through the grant's token; its own last words count if they come soon.
                    return tokio::time::timeout(STOP_GRACE, run).await.unwrap_or_else(|_| {
                        ToolResult::ended(ToolOutcome::Cancelled, "The call was stopped.")
                    });
                }
                () = &mut limit => {
                    cancel.cancel();
                    let words = format!("The call took longer than {:?}.", self.limits.tool_duration);
                    return ToolResult::ended(ToolOutcome::Error, words);
                }
            }
        }
    }
}

/// SHA-256 over the call's id, its tool and its arguments with sorted keys.
fn call_hash(call: &CallId, tool: &str, arguments: &Value) -> String {
    let mut hasher = Sha256::new();
    for piece in [call.as_str(), tool] {
        hasher.update((piece.len() as u64).to_be_bytes());
        hasher.update(piece);
    }
    let mut canonical = String::new();
    write_canonical(arguments, &mut canonical);
    hasher.update(canonical);
    policy::hex(&hasher.finalize())
}

/// JSON with sorted keys and no spaces, whatever order the map keeps.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(&map[key.as_str()], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// The result as the model is shown it: cut at a character, with a word that it was.
fn shown(content: Vec<Part>) -> (Vec<Part>, bool) {
    let mut left = TOOL_OUTPUT_SHOWN_BYTES;
    let mut truncated = false;
    let cut = |part| match part {
        Part::Text { text } if text.len() > left => {
            let end = text.floor_char_boundary(left);
            let note = format!("{}\n[cut: {} more bytes]", &text[..end], text.len() - end);
            (left, truncated) = (0, true);
            Part::Text { text: note }
        }
        Part::Text { text } => {
            left -= text.len();
            Part::Text { text }
        }
        other => other,
    };
    let content = content.into_iter().map(cut).collect();
    (content, truncated)
}
