//! The one place that starts tools: prepare, judge, write down, run, write down.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use moongate_protocol::{CallId, DeltaKind, Effect, Event, Ground, ToolFinished, ToolOutcome, WaitingOn};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Over, Step, Then, Turn, UNKNOWN_OUTCOME, Verdict, Wish, Work,
    judge::{Callee, Judged, Prepared},
};
use crate::{
    Grant, Outputs, Place, Tool, ToolResult,
    delegate::Errand,
    feed::LivePiece,
    limits::PARALLEL_TOOLS,
    session::{NOT_STARTED, PendingCall},
    tool::Bound,
};

/// Pieces of live output that wait to be shown; when full, live output is dropped and the result says all.
const OUTPUT_PIECES: usize = 64;
/// How long a tool may take to stop after it was told to: less than the turn has, which writes down that it was
/// stopped.
const STOP_GRACE: Duration = Duration::from_secs(4);

/// What became of a call.
enum Ran {
    Finished(ToolFinished),
    /// It waits for a person, or for another agent.
    Waits(CallId),
}

/// The calls to run, each once.
#[derive(Default)]
struct Line {
    taken: HashSet<CallId>,
    next: VecDeque<PendingCall>,
}

impl Line {
    /// Takes the calls that may run and are not taken yet.
    fn take(&mut self, calls: Vec<PendingCall>) {
        for call in calls {
            if !call.waits() && self.taken.insert(call.call.clone()) {
                self.next.push_back(call);
            }
        }
    }
}

impl Turn {
    /// Runs the calls of one message, several at once, and reports each result as it comes; the prompt has them in
    /// the model's order. One that waits for a person does not hold up the others.
    pub(super) async fn run_calls(&self, calls: Vec<PendingCall>) -> Step<Work> {
        self.wait_for(WaitingOn::Tool);
        let mut stopped = Vec::new();
        let mut line = Line::default();
        line.take(calls);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < PARALLEL_TOOLS
                && let Some(call) = line.next.pop_front()
            {
                running.push(self.run_call(call));
            }
            let ran = tokio::select! {
                ran = running.next() => ran,
                () = self.decided.notified(), if !running.is_empty() => {
                    // When it is to stop, the calls that run say so.
                    if let Verdict::Call(work) = self.report(Vec::new(), Then::Look).await? {
                        line.take(work.pending);
                    }
                    continue;
                }
            };
            match ran {
                None => break,
                Some(ran) => match ran? {
                    // Each result is durable as soon as it is there, whatever its siblings do.
                    Ran::Finished(result) => {
                        if result.outcome == ToolOutcome::Cancelled {
                            stopped.push(result.call.to_string());
                        }
                        let Verdict::Go = self.report(vec![Event::ToolFinished(result)], Then::Go).await?
                        else {
                            return Err(Over);
                        };
                    }
                    Ran::Waits(call) => {
                        line.taken.remove(&call);
                        // Somebody may have decided before this was heard.
                        self.decided.notify_one();
                    }
                },
            }
        }
        drop(running);
        if self.cancel.is_cancelled() {
            return self.stop(stopped).await;
        }
        match self.report(Vec::new(), Then::Called).await? {
            Verdict::Call(work) => Ok(work),
            _ => Err(Over),
        }
    }

    async fn run_call(&self, call: PendingCall) -> Step<Ran> {
        let started = Instant::now();
        let (item, id) = (call.item, call.call.clone());
        let Some(mut result) = self.attempt(call).await? else { return Ok(Ran::Waits(id)) };
        let kept = self.keep(&id, &mut result).await;
        Ok(Ran::Finished(ToolFinished {
            turn: self.id,
            item,
            call: id,
            outcome: result.outcome,
            content: kept.content,
            data: result.data,
            truncated: kept.truncated,
            output: kept.output,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }))
    }

    /// Everything that can become of a call is a result the model sees; `None` while it waits for a person.
    async fn attempt(&self, call: PendingCall) -> Step<Option<ToolResult>> {
        if call.started == Some(Effect::Effect) {
            return Ok(Some(ToolResult::ended(ToolOutcome::Unknown, UNKNOWN_OUTCOME)));
        }
        let mut prepared = match self.prepare(call) {
            Ok(prepared) => prepared,
            Err(refused) => return Ok(Some(refused)),
        };
        let ground = match self.judge(&mut prepared).await? {
            Judged::May(ground) => ground,
            Judged::Waits => return Ok(None),
            Judged::Over(result) => return Ok(Some(result)),
        };
        let tool = match &prepared.callee {
            Callee::Tool(tool) => Arc::clone(tool),
            Callee::Agents(_) => return self.hand_on(prepared, ground).await,
        };
        if prepared.call.started.is_none() {
            let called = vec![Event::ToolCalled(self.called(&prepared, ground))];
            match self.report(called, Then::Go).await? {
                Verdict::Go => {}
                _ => return Ok(Some(ToolResult::ended(ToolOutcome::Cancelled, NOT_STARTED))),
            }
        }
        let note = prepared.note();
        let mut result = self.run_tool(&*tool, prepared).await;
        result.content.splice(0..0, note);
        Ok(Some(result))
    }

    /// Hands a call to another agent; `None` while that is at work. Whatever was asked before, it is one session.
    async fn hand_on(&self, prepared: Prepared, ground: Ground) -> Step<Option<ToolResult>> {
        let errand = match Errand::read(&prepared.arguments) {
            Ok(errand) => errand,
            Err(fault) => return Ok(Some(ToolResult::ended(ToolOutcome::Error, fault))),
        };
        let called = vec![Event::ToolCalled(self.called(&prepared, ground))];
        let PendingCall { item, call, .. } = prepared.call;
        let wish = Wish { item, call, errand };
        Ok(match self.report(called, Then::Delegate(Box::new(wish))).await? {
            Verdict::HandedOn => None,
            Verdict::NotHandedOn(why) => Some(ToolResult::ended(ToolOutcome::Denied, why)),
            _ => Some(ToolResult::ended(ToolOutcome::Cancelled, NOT_STARTED)),
        })
    }

    pub(super) fn place(&self) -> Place {
        let setting = &self.setting;
        Place {
            tenant: self.tenant.clone(),
            namespace: setting.namespace.clone(),
            author: setting.author.clone(),
            agent: setting.agent.name.clone(),
            session: self.session,
            turn: self.id,
        }
    }

    async fn run_tool(&self, tool: &dyn Tool, prepared: Prepared) -> ToolResult {
        let (output, mut live) = mpsc::channel::<String>(OUTPUT_PIECES);
        let item = prepared.call.item;
        let name = prepared.call.tool.clone();
        let place = self.place();
        let cancel = self.cancel.child_token();
        let outputs = Outputs::new(Arc::clone(&self.store), self.session);
        let Prepared { call, arguments, operands, .. } = prepared;
        let bound = Bound { call: call.call, arguments, operands };
        let grant = Grant::new(place, bound, cancel.clone(), output, outputs);
        let run = tool.run(grant);
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
