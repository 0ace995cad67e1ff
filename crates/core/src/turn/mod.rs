//! The turn: prompt, model, tools, and again, until the model has said everything. A task the actor starts;
//! it decides nothing durable itself but reports facts and asks what to do next.

mod answer;
mod budget;
mod calls;
mod client;
mod compact;
mod judge;
mod output;
pub(crate) mod prompt;
mod report;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use moongate_protocol::{
    BlobHash, ErrorCode, Event, ItemId, MessageCompleted, Namespace, Notice, Overrides, Part, PolicyPreset,
    Principal, Role, SessionId, StopReason, Tenant, ToolSpec, TurnId, UsageRecorded, WaitingOn,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::answer::{Answer, End};
pub(crate) use self::{
    compact::range as compactable,
    output::shown,
    report::{Report, Then, Verdict, Wish, Work},
};
use crate::{
    Agent, Allowance, Catalog, Fault, Ids, Limits, Model, ModelRequest, ModelStream, Piece, Store,
    feed::Feed, ledger::Ledger,
};

/// What model and human are told of a call that was started and whose end nobody saw.
pub(crate) const UNKNOWN_OUTCOME: &str = "The outcome of this call is unknown: the server stopped while it ran. \
     It may or may not have taken effect. Check before doing it again.";

/// What the model is told of a client's call that the client did not answer.
pub(crate) const UNANSWERED: &str = "There is no result: whoever runs this tool gave none.";

/// The configuration a turn began with and keeps.
pub(crate) struct Setting {
    pub(crate) agent: Arc<Agent>,
    pub(crate) overrides: Overrides,
    /// Tools the client runs.
    pub(crate) client_tools: Arc<[ToolSpec]>,
    pub(crate) policy: PolicyPreset,
    /// What it may spend at most, where another turn delegated to it.
    pub(crate) given: Allowance,
    pub(crate) namespace: Namespace,
    /// Who set it off.
    pub(crate) author: Principal,
    pub(crate) catalog: Arc<Catalog>,
}

/// Everything a turn needs from the outside.
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    pub(crate) session: SessionId,
    pub(crate) tenant: Tenant,
    pub(crate) setting: Setting,
    pub(crate) feed: Arc<Feed>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ids: Ids,
    pub(crate) limits: Arc<Limits>,
    /// What was spent today.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) cancel: CancellationToken,
    /// Rings when somebody decided on one of its calls.
    pub(crate) decided: Arc<Notify>,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// The turn is over, or nobody listens to it any more.
struct Over;

type Step<T> = Result<T, Over>;

impl Turn {
    /// Runs the turn to its end. `committed` fires when the events that began it are on disk: until then the
    /// model may be called but nothing of its answer is shown.
    pub(crate) async fn run(self, work: Work, committed: oneshot::Receiver<()>) {
        let deadline = Instant::now() + self.limits.turn_duration;
        // Ending early is not an error here: whoever ended the turn has written down how.
        let _over = self.steps(work, committed, deadline).await;
    }

    async fn steps(&self, mut work: Work, committed: oneshot::Receiver<()>, deadline: Instant) -> Step<()> {
        let mut committed = Some(committed);
        loop {
            if !work.pending.is_empty() {
                if let Some(committed) = committed.take() {
                    committed.await.map_err(|_| Over)?;
                }
                let own = self.setting.own_calls(std::mem::take(&mut work.pending));
                if own.is_empty() {
                    return self.report(Vec::new(), Then::Complete(StopReason::ToolUse)).await.map(|_| ());
                }
                work = self.run_calls(own).await?;
                continue;
            }
            if work.calls_made >= self.limits.model_calls_per_turn || Instant::now() >= deadline {
                let message = "the turn reached its limit of model calls or time";
                return self.fail(Vec::new(), Fault::new(ErrorCode::LimitReached, message)).await;
            }
            let Some(model) = self.model() else {
                let message = format!("the model {} is not configured any more", self.model_name());
                return self.fail(Vec::new(), Fault::new(ErrorCode::Unprocessable, message)).await;
            };
            if compact::is_needed(&work, model.info()) {
                if let Some(committed) = committed.take() {
                    committed.await.map_err(|_| Over)?;
                }
                if let Some(compacted) = self.compact(&model, deadline).await? {
                    work = compacted;
                    continue;
                }
            }
            if let Err(reached) = self.may_spend(work.spent).await {
                return self.over_budget(reached, work.spent).await;
            }
            work = match self.call_model(&model, work, committed.take(), deadline).await? {
                Some(work) => work,
                None => return Ok(()),
            };
        }
    }

    fn model_name(&self) -> &moongate_protocol::ModelName {
        self.setting.overrides.model.as_ref().unwrap_or(&self.setting.agent.model)
    }

    fn model(&self) -> Option<Arc<dyn Model>> {
        // A model an input asked for by name is that one or none.
        let fallbacks =
            if self.setting.overrides.model.is_some() { &[][..] } else { &self.setting.agent.fallbacks };
        self.setting.catalog.models.get_with_fallbacks(self.model_name(), fallbacks)
    }

    /// One model call, from its prompt to its facts on disk. `None` when the turn ended with it.
    async fn call_model(
        &self,
        model: &Arc<dyn Model>,
        work: Work,
        committed: Option<oneshot::Receiver<()>>,
        deadline: Instant,
    ) -> Step<Option<Work>> {
        let attachments = self.attachments(&work.blobs).await;
        let mut stream = model.call(Arc::new(self.request(work, attachments)));
        let mut answer = Answer::new(self.id, &self.ids);
        let end = self.stream(&mut *stream, &mut answer, committed, deadline).await?;
        let mut events: Vec<Event> = self.usage(&*stream, &answer).into_iter().collect();
        match end {
            Ended::Complete(stop_reason) => {
                if !matches!(stop_reason, StopReason::EndTurn | StopReason::ToolUse) {
                    // Its last call may be cut off, and nothing says so when it is cut off at its beginning.
                    answer.drop_calls();
                }
                let message = self.message(answer, stop_reason, false);
                let calls = message.as_ref().is_some_and(asks_for_tools);
                events.splice(0..0, message.map(Event::MessageCompleted));
                let then = if calls { Then::CallModel } else { Then::Complete(stop_reason) };
                self.report(events, then).await.map(into_work)
            }
            Ended::Cancelled => {
                events.splice(0..0, self.broken_off(answer, StopReason::Cancelled));
                self.report(events, Then::Cancelled(vec!["model".into()])).await.map(into_work)
            }
            Ended::Failed(fault) => {
                if fault.code == ErrorCode::ContextTooLong
                    && let Some(work) = self.compact(model, deadline).await?
                {
                    return Ok(Some(work));
                }
                events.splice(0..0, self.broken_off(answer, StopReason::Cut));
                self.fail(events, fault).await.map(|()| None)
            }
        }
    }

    /// Reads the answer to its end, showing it as it comes.
    async fn stream(
        &self,
        stream: &mut dyn ModelStream,
        answer: &mut Answer,
        committed: Option<oneshot::Receiver<()>>,
        deadline: Instant,
    ) -> Step<Ended> {
        let mut pieces = Vec::new();
        let mut gate = committed;
        let opened = async {
            if let Some(committed) = gate.take() {
                committed.await.map_err(|_| Over)?;
            }
            self.wait_for(WaitingOn::Model);
            Ok(())
        };
        let mut first = Some(opened);
        loop {
            let more = async {
                match first.take() {
                    Some(opened) => tokio::join!(stream.next(&mut pieces), opened).1,
                    None => {
                        stream.next(&mut pieces).await;
                        Ok(())
                    }
                }
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(Ended::Cancelled),
                more = more => more?,
                () = tokio::time::sleep_until(deadline) => {
                    let message = "the turn took longer than it may";
                    return Ok(Ended::Failed(Fault::new(ErrorCode::LimitReached, message)));
                }
            }
            self.show_waits(&pieces);
            match answer.take(&mut pieces, &self.feed) {
                Some(End::Finish(reason)) => return Ok(Ended::Complete(reason)),
                Some(End::Fault(fault)) => return Ok(Ended::Failed(fault)),
                None => {}
            }
        }
    }

    fn show_waits(&self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Waiting(on) => self.wait_for(*on),
                Piece::Working => self.wait_for(WaitingOn::Model),
                _ => {}
            }
        }
    }

    fn wait_for(&self, on: WaitingOn) {
        let (session, turn, since) = (self.session, self.id, self.ids.now());
        self.feed.notify(Notice::Waiting { session, turn, on, since });
    }

    fn request(&self, work: Work, attachments: HashMap<BlobHash, Bytes>) -> ModelRequest {
        let mut settings = self.setting.agent.settings;
        settings.effort = self.setting.overrides.effort.or(settings.effort);
        settings.temperature = self.setting.overrides.temperature.or(settings.temperature);
        settings.max_output_tokens = self.setting.overrides.max_output_tokens.or(settings.max_output_tokens);
        ModelRequest {
            system: self.setting.system(),
            tools: self.setting.tools(&work.prompt),
            messages: work.prompt,
            settings,
            attachments: Arc::new(attachments),
            cache_key: Some(self.session.to_string().into()),
        }
    }

    /// A blob that cannot be read is left out: the codec tells the model so.
    async fn attachments(&self, blobs: &[BlobHash]) -> HashMap<BlobHash, Bytes> {
        let mut attachments = HashMap::new();
        for hash in blobs {
            match self.store.blob(*hash).await {
                Ok(Some(bytes)) => {
                    attachments.insert(*hash, bytes);
                }
                Ok(None) => tracing::warn!(blob = %hash, "an attachment is missing"),
                Err(error) => tracing::warn!(blob = %hash, %error, "an attachment cannot be read"),
            }
        }
        attachments
    }

    fn usage(&self, stream: &dyn ModelStream, answer: &Answer) -> Option<Event> {
        let tokens = answer.usage?;
        let info = stream.model();
        Some(Event::UsageRecorded(UsageRecorded {
            turn: self.id,
            model: info.name.clone(),
            tokens,
            cost: info.price.as_ref().map(|price| price.cost(tokens)),
            price_source: info.price.as_ref().map(|price| price.source.clone()),
            author: None,
            agent: None,
        }))
    }

    /// The message of an answer; none when nothing was said.
    fn message(&self, answer: Answer, stop_reason: StopReason, partial: bool) -> Option<MessageCompleted> {
        let item = answer.item;
        let parts = if partial { answer.partial_parts() } else { answer.parts() };
        let stop_reason = Some(stop_reason);
        let message = MessageCompleted {
            turn: self.id,
            item,
            role: Role::Assistant,
            parts,
            stop_reason,
            input: None,
            partial,
        };
        (!message.parts.is_empty()).then_some(message)
    }

    fn broken_off(&self, answer: Answer, stop_reason: StopReason) -> Option<Event> {
        if answer.is_empty() {
            return None;
        }
        self.message(answer, stop_reason, true).map(Event::MessageCompleted)
    }

    /// Reports facts and waits for what to do next.
    async fn report(&self, events: Vec<Event>, then: Then) -> Step<Verdict> {
        let (reply, verdict) = oneshot::channel();
        let report = Report { turn: self.id, events, then, reply };
        self.reports.send(report).await.map_err(|_| Over)?;
        verdict.await.map_err(|_| Over)
    }

    async fn fail(&self, events: Vec<Event>, fault: Fault) -> Step<()> {
        self.report(events, Then::Fail(fault)).await.map(|_| ())
    }

    /// Stops as it was told to.
    async fn stop(&self, stopped: Vec<String>) -> Step<Work> {
        self.report(Vec::new(), Then::Cancelled(stopped)).await?;
        Err(Over)
    }
}

enum Ended {
    Complete(StopReason),
    Cancelled,
    Failed(Fault),
}

fn asks_for_tools(message: &MessageCompleted) -> bool {
    message.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }))
}

fn into_work(verdict: Verdict) -> Option<Work> {
    match verdict {
        Verdict::Call(work) => Some(work),
        _ => None,
    }
}

/// A new item of the turn.
fn new_item(ids: &Ids) -> ItemId {
    ids.make(ItemId::new)
}
