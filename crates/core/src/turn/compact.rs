//! A conversation that outgrows its model's window: older messages are summarised by the model, the log is
//! kept whole.

use std::sync::Arc;

use moongate_protocol::{ContextCompacted, ErrorCode, Event, ItemId, Part, Seq, Tokens, UsageRecorded};
use tokio::time::Instant;

use super::{Ended, Over, Step, Then, Turn, Verdict, Work, answer::Answer, new_item, prompt::Messages};
use crate::{
    Fault, Model, ModelInfo, ModelRequest, ModelStream, PromptMessage,
    feed::Feed,
    limits::{COMPACT_AT_PERCENT, COMPACT_HALVINGS, COMPACT_KEEPS},
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
    prompt: Messages,
}

/// What could be summarised: everything but the last messages, cut before something a person said. Each halving
/// leaves half of the places to cut.
pub(crate) fn range(transcript: &Transcript, halvings: u32) -> Option<Range> {
    let entries = &transcript.entries;
    let most = entries.len().checked_sub(COMPACT_KEEPS)?;
    let cuts: Vec<usize> = (1..=most).filter(|index| entries[*index].is_users()).collect();
    let places = cuts.len().checked_shr(halvings)?;
    let cut = *cuts.get(places.checked_sub(1)?)?;
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
        for halvings in 0..=COMPACT_HALVINGS {
            match self.report(Vec::new(), Then::Compact { halvings }).await? {
                Verdict::Compact(Some(range), spent) => {
                    if let Err(reached) = self.may_spend(spent).await {
                        self.over_budget(reached, spent).await?;
                        return Err(Over);
                    }
                    if let Some(work) = self.summarise(model, *range, deadline).await? {
                        return Ok(Some(work));
                    }
                }
                Verdict::Compact(None, _) if halvings == 0 => return Ok(None),
                Verdict::Compact(None, _) => break,
                Verdict::Stop => return self.stop(Vec::new()).await.map(Some),
                _ => return Err(Over),
            }
        }
        let message = "the conversation is too long for the model, even to summarise a part of it";
        self.fail(Vec::new(), Fault::new(ErrorCode::ContextTooLong, message)).await?;
        Err(Over)
    }

    /// Has the model summarise a range and writes the summary down. `None` when the range itself is too long.
    async fn summarise(&self, model: &Arc<dyn Model>, range: Range, deadline: Instant) -> Step<Option<Work>> {
        let Range { from, to, prompt } = range;
        let mut stream = model.call(Arc::new(self.summary_request(prompt)));
        let mut answer = Answer::new(self.id, &self.ids);
        let ended = self.hear_summary(&mut *stream, &mut answer, deadline).await;
        let mut events = Vec::new();
        if let Some(tokens) = answer.usage {
            events.push(self.summary_usage(stream.model(), tokens));
        }
        let summary = Part::join_text(&answer.parts());
        let fault = match ended {
            Ended::Complete(_) if !summary.trim().is_empty() => {
                let (turn, item): (_, ItemId) = (self.id, new_item(&self.ids));
                events.push(Event::ContextCompacted(ContextCompacted { turn, from, to, item, summary }));
                return match self.report(events, Then::CallModel).await? {
                    Verdict::Call(work) => Ok(Some(work)),
                    _ => Err(Over),
                };
            }
            Ended::Complete(_) => {
                Fault::new(ErrorCode::ProviderProtocol, "the model gave no summary when it was asked")
            }
            Ended::Cancelled => return self.stop(vec!["model".into()]).await.map(Some),
            Ended::Failed(fault) if fault.code == ErrorCode::ContextTooLong => {
                if !events.is_empty() {
                    self.report(events, Then::Go).await?;
                }
                return Ok(None);
            }
            Ended::Failed(fault) => fault,
        };
        self.fail(events, fault).await?;
        Err(Over)
    }

    /// The question for a summary of these messages.
    fn summary_request(&self, messages: Messages) -> ModelRequest {
        let mut messages = Arc::unwrap_or_clone(messages);
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
        ModelRequest {
            system: Arc::clone(&self.setting.agent.system),
            tools: self.setting.tools(&messages),
            messages: messages.into(),
            ..Default::default()
        }
    }

    async fn hear_summary(
        &self,
        stream: &mut dyn ModelStream,
        answer: &mut Answer,
        deadline: Instant,
    ) -> Ended {
        // A summary is not part of the conversation: it is written where nobody follows.
        let unseen = Feed::new(self.session, self.feed.head());
        let mut pieces = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ended::Cancelled,
                () = stream.next(&mut pieces) => {}
                () = tokio::time::sleep_until(deadline) => {
                    let message = "summarising took longer than the turn may take";
                    return Ended::Failed(Fault::new(ErrorCode::LimitReached, message));
                }
            }
            match answer.take(&mut pieces, &unseen) {
                Some(super::End::Finish(reason)) => return Ended::Complete(reason),
                Some(super::End::Fault(fault)) => return Ended::Failed(fault),
                None => {}
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
            author: None,
            agent: None,
        })
    }
}
