//! A conversation that outgrows its model's window: older messages are summarised by the model, the log is
//! kept whole.

use std::sync::Arc;

use moongate_protocol::{ContextCompacted, ErrorCode, Event, ItemId, Part, Seq, Tokens, UsageRecorded};
use tokio::time::Instant;

use super::{Ended, Over, Step, Then, Turn, Verdict, Work, answer::Answer, new_item};
use crate::{
    Fault, Model, ModelInfo, ModelRequest, PromptMessage, SharedMessage,
    feed::Feed,
    limits::{COMPACT_AT_PERCENT, COMPACT_KEEPS},
    session::Transcript,
};

/// How the model is asked for a summary.
const INSTRUCTION: &str = "Summarise the conversation so far for yourself, because it will be removed and only \
     your summary kept. Keep: what the person wants, decisions and their reasons, facts, names, numbers, paths, \
     open questions, and what was done with what result. Leave out greetings and repetition. Answer with the \
     summary only.";

/// Which events a summary would replace, and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    from: Seq,
    to: Seq,
    prompt: Vec<Arc<SharedMessage>>,
}

/// What could be summarised: everything but the last messages, cut before something a person said.
pub(crate) fn range(transcript: &Transcript) -> Option<Range> {
    let entries = &transcript.entries;
    let most = entries.len().checked_sub(COMPACT_KEEPS)?;
    let says_user = |index: &usize| entries[*index].is_users();
    let cut = (1..=most).rev().find(says_user)?;
    let mut older = transcript.clone();
    older.entries.truncate(cut);
    let from = entries.first()?.seq;
    let to = older.entries.last()?.seq;
    Some(Range { from, to, prompt: super::prompt::build(&older) })
}

/// Whether the window is too full for another call.
pub(super) fn is_needed(work: &Work, info: &ModelInfo) -> bool {
    info.context_window.is_some_and(|window| {
        work.window_used.saturating_mul(100) >= window.saturating_mul(COMPACT_AT_PERCENT)
    })
}

impl Turn {
    /// Has the model summarise what can be summarised and writes the summary down. `None` when there is
    /// nothing to summarise.
    pub(super) async fn compact(&self, model: &Arc<dyn Model>, deadline: Instant) -> Step<Option<Work>> {
        match self.report(Vec::new(), Then::Compact).await? {
            Verdict::Compact(Some(range)) => self.summarise(model, *range, deadline).await.map(Some),
            Verdict::Compact(None) => Ok(None),
            Verdict::Stop => self.stop(Vec::new()).await.map(Some),
            Verdict::Go | Verdict::Call(_) | Verdict::Ended => Err(Over),
        }
    }

    async fn summarise(&self, model: &Arc<dyn Model>, range: Range, deadline: Instant) -> Step<Work> {
        let mut messages = range.prompt;
        let ask = vec![Part::text(INSTRUCTION)];
        match messages.last().map(|last| &***last) {
            Some(PromptMessage::User(said)) => {
                let parts = said.iter().cloned().chain(ask).collect();
                messages.pop();
                messages.push(Arc::new(PromptMessage::User(parts).into()));
            }
            _ => messages.push(Arc::new(PromptMessage::User(ask).into())),
        }
        // Messages with calls need their tools named, though none is to be called.
        let request = ModelRequest {
            system: Arc::clone(&self.setting.agent.system),
            messages,
            tools: self.setting.catalog.tool_specs(&self.setting.agent),
            ..Default::default()
        };
        let mut stream = model.call(request);
        // A summary is not part of the conversation: it is written where nobody follows.
        let unseen = Feed::new(self.session, self.feed.head());
        let mut answer = Answer::new(self.id, &self.ids);
        let mut pieces = Vec::new();
        let ended = loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break Ended::Cancelled,
                () = stream.next(&mut pieces) => {}
                () = tokio::time::sleep_until(deadline) => {
                    let message = "summarising took longer than the turn may take";
                    break Ended::Failed(Fault::new(ErrorCode::LimitReached, message));
                }
            }
            match answer.take(&mut pieces, &unseen) {
                Some(super::End::Finish(reason)) => break Ended::Complete(reason),
                Some(super::End::Fault(fault)) => break Ended::Failed(fault),
                None => {}
            }
        };
        let mut events = Vec::new();
        if let Some(tokens) = answer.usage {
            events.push(self.summary_usage(stream.model(), tokens));
        }
        let summary = Part::join_text(&answer.parts());
        match ended {
            Ended::Complete(_) if summary.trim().is_empty() => {
                let fault =
                    Fault::new(ErrorCode::ProviderProtocol, "the model gave no summary when it was asked");
                self.fail(events, fault).await?;
                Err(Over)
            }
            Ended::Complete(_) => {
                let item: ItemId = new_item(&self.ids);
                let (turn, from, to) = (self.id, range.from, range.to);
                events.push(Event::ContextCompacted(ContextCompacted { turn, from, to, item, summary }));
                match self.report(events, Then::CallModel).await? {
                    Verdict::Call(work) => Ok(work),
                    Verdict::Go | Verdict::Compact(_) | Verdict::Stop | Verdict::Ended => Err(Over),
                }
            }
            Ended::Cancelled => self.stop(vec!["model".into()]).await,
            Ended::Failed(fault) => {
                self.fail(events, fault).await?;
                Err(Over)
            }
        }
    }

    fn summary_usage(&self, info: &ModelInfo, tokens: Tokens) -> Event {
        Event::UsageRecorded(UsageRecorded {
            turn: self.id,
            model: info.name.clone(),
            tokens,
            cost: info.price.as_ref().map(|price| price.cost(tokens)),
            price_source: info.price.as_ref().map(|price| price.source.clone()),
        })
    }
}
