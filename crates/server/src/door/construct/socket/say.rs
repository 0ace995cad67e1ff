//! Messages: what a person says on a socket becomes an input, or a refusal.

use std::{ops::ControlFlow, time::Duration};

use moongate_core::{Accepted, Refusal, Scope, SessionHandle};
use moongate_protocol::{
    ApprovalId, Decision, ErrorCode, Idempotency, KeySpace, Metadata, NewInput, Part, Seq,
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Attached, Ending, Line, Own, below::resolve_below, hear::resolve};
use crate::door::construct::{
    Construct,
    asks::{DecisionWord, Said},
    attach,
    fold::{ATTACHMENTS, Counts, SessionFold, Told},
    frames::{self, Frame, OperatorStatus, Phase, Problem, Word},
    hints,
    problems::{self, Busy, plain},
    summary::{self, Typed},
    uploads,
};
use crate::door::shared::Door;

/// Where an input's page is named among its labels.
const PAGE: &str = "page_context";
/// Longest page name that is kept, in bytes.
const PAGE_BYTES: usize = 1024;

impl Line {
    pub(super) async fn message(&mut self, said: Said) -> Result<(), Ending> {
        if self.door.settings.text_approvals
            && let Some(typed) = summary::typed(&said.content)
            && self.is_open(typed)
        {
            return self.typed(typed).await;
        }
        let client = said.client_message_id.clone();
        match self.submit(said).await {
            Ok(()) => Ok(()),
            Err(mut problem) => {
                problem.client_message_id = client;
                self.refuse(problem)
            }
        }
    }

    async fn submit(&mut self, said: Said) -> Result<(), Problem> {
        let caller = self.socket.caller().clone();
        if !caller.may(Scope::SessionsWrite) {
            return Err(plain("FORBIDDEN", "Forbidden — this key lacks sessions:write"));
        }
        if let Err(wait) = self.door.inputs.take(caller.key()) {
            let mut problem = plain("RATE_LIMITED", "Too many messages; try again later");
            (problem.retryable, problem.retry_after) = (true, Some(seconds(wait)));
            return Err(problem);
        }
        let place = uploads::place(&caller, &self.chat.id).map_err(|refusal| self.refused(&refusal))?;
        let mut parts = self.door.parts(&place, &said.attachments).await?;
        if !said.content.trim().is_empty() {
            parts.insert(0, Part::text(said.content.clone()));
        }
        let handle = self.session().await.map_err(|refusal| self.refused(&refusal))?;
        let (client, files) = (said.client_message_id.clone(), said.attachments.clone());
        let input = self.input(said, parts);
        let gate = Some(self.door.turns.gate(caller.key()));
        let accepted = handle.submit_behind(input, gate).await;
        let accepted = accepted.map_err(|refusal| self.refused(&refusal))?;
        self.chat.spoken = true;
        self.observer = None;
        self.door.use_uploads(&place, &files).await;
        if accepted.again {
            return self.repeat(&handle, &accepted, client).await.map_err(|_| storage());
        }
        let position = accepted.queue_length;
        let wait = self.door.settings.queue.wait().filter(|_| position > 0);
        let deadline = wait.map(|wait| Instant::now() + wait);
        let own = Own { position, client_message_id: client, deadline, expired: false };
        self.chat.own.insert(accepted.input, own);
        Ok(())
    }

    /// The session of this socket, begun by its first message.
    async fn session(&mut self) -> Result<SessionHandle, Refusal> {
        if let Some(attached) = &self.chat.attached {
            return Ok(attached.handle.clone());
        }
        let caller = self.socket.caller().clone();
        let found = self.door.find(&caller, &self.chat.id).await?;
        let handle = match found {
            Some(handle) => handle,
            None => self.door.begin(&caller, &self.chat.id, &self.chat.agent, None).await?,
        };
        // Before the message: nothing of its turn is missed.
        self.chat.attached = Some(Attached::new(handle.clone(), &self.door));
        Ok(handle)
    }

    fn input(&self, said: Said, parts: Vec<Part>) -> NewInput {
        let settings = &self.door.settings;
        let hint = said.page_context.as_deref().and_then(|page| hints::find(&settings.page_hints, page));
        let mut metadata = Metadata::new();
        if let Some(page) = said.page_context.filter(|page| page.len() <= PAGE_BYTES) {
            metadata.insert(PAGE.to_owned(), page);
        }
        if !said.attachments.is_empty() {
            metadata.insert(ATTACHMENTS.to_owned(), said.attachments.join(","));
        }
        let idempotency = said.client_message_id.map(|id| self.idempotency(&id));
        NewInput {
            parts,
            idempotency: idempotency.flatten(),
            overrides: self.door.overrides(hint),
            metadata,
            queue_limit: Some(settings.queue.depth),
            ..NewInput::default()
        }
    }

    /// A client's name for a message, as the store keeps it: the name alone says that it is the same one.
    fn idempotency(&self, id: &str) -> Option<Idempotency> {
        let digest = Sha256::digest(id);
        let key = format!("chat.{}", data_encoding::HEXLOWER.encode(&digest)).parse().ok()?;
        Some(Idempotency { key, body_hash: digest.into(), space: KeySpace::Session, instead_of: None })
    }

    /// The same message again: what was said of it before.
    async fn repeat(
        &mut self,
        handle: &SessionHandle,
        accepted: &Accepted,
        client: Option<String>,
    ) -> Result<(), ()> {
        let word = Word::Accepted(frames::Accepted {
            input_id: accepted.input,
            position: accepted.queue_length,
            client_message_id: client,
            epoch: accepted.position.epoch.to_string(),
        });
        self.say(word).map_err(drop)?;
        for told in last_frames(&self.door, handle, accepted).await.map_err(drop)? {
            self.tell(told, true);
        }
        Ok(())
    }

    /// What the client is told when its message was not taken.
    fn refused(&self, refusal: &Refusal) -> Problem {
        let (id, split) = (self.chat.id.as_str(), self.can.split_queue_codes);
        let retry_after = refusal.retry_after.map(seconds);
        match refusal.code {
            ErrorCode::QueueFull | ErrorCode::Busy => {
                let depth = self.chat.attached.as_ref().map_or(0, |attached| attached.fold.depth());
                let pending = depth.max(self.door.settings.queue.depth);
                problems::busy(id, Busy::Full(pending), split)
            }
            ErrorCode::RateLimited => {
                let problem = plain("RATE_LIMITED", "Too many turns run already; try again later");
                Problem { retryable: true, retry_after, ..problem }
            }
            ErrorCode::Forbidden => plain("FORBIDDEN", "Forbidden — this key may not do that"),
            ErrorCode::TooLarge => plain("CONTENT_TOO_LARGE", "The message is too long"),
            ErrorCode::InvalidRequest => plain("EMPTY_CONTENT", "Message content cannot be empty"),
            ErrorCode::Unprocessable => Problem {
                reason: Some("unknown_model"),
                ..plain("PROVIDER_ERROR", "The model or agent is not known.")
            },
            _ => storage(),
        }
    }

    fn is_open(&self, typed: Typed) -> bool {
        self.asked_below(typed.approval).is_some()
            || self.chat.attached.as_ref().is_some_and(|a| a.fold.tool_of(typed.approval).is_some())
    }

    /// A decision that was typed as a message: not kept, not queued.
    async fn typed(&mut self, typed: Typed) -> Result<(), Ending> {
        let Some(attached) = &self.chat.attached else { return Ok(()) };
        let below = self.asked_below(typed.approval).map(ToString::to_string);
        let is_below = below.is_some();
        let name = below.or_else(|| attached.fold.tool_of(typed.approval)).unwrap_or_default();
        let word = match (typed.always, typed.decision) {
            (true, _) => DecisionWord::Always,
            (false, Decision::Approve) => DecisionWord::Approve,
            (false, Decision::Deny) => DecisionWord::Deny,
        };
        let (gateway, caller) = (self.door.app().gateway().clone(), self.socket.caller().clone());
        let done = match caller.may(Scope::ApprovalsDecide) {
            true if is_below => resolve_below(&gateway, &caller, typed.approval, word).await.is_ok(),
            true => resolve(attached, typed.approval, word).await.is_ok(),
            false => false,
        };
        let (phase, detail) = match (done, word) {
            (true, DecisionWord::Deny) => (Phase::Completed, format!("Denied {name}")),
            (true, _) => (Phase::Completed, format!("Approved {name}")),
            (false, _) => (Phase::Failed, format!("The decision on {name} was not taken")),
        };
        let status = Word::OperatorStatus(OperatorStatus { phase, detail, agent_id: None });
        if done && !is_below {
            return self.after_decision(typed.approval, status).await;
        }
        self.say(status)
    }

    /// Says something right after a decision that is published.
    async fn after_decision(&mut self, id: ApprovalId, status: Word) -> Result<(), Ending> {
        let decides = |told: &Told| match &told.word {
            Word::ApprovalResolved(resolved) => resolved.request_id == id,
            _ => false,
        };
        let Some(attached) = &mut self.chat.attached else { return Ok(()) };
        let mut told = Vec::new();
        while !told.iter().any(decides) {
            if attached.next(&mut told).await.is_err() {
                break;
            }
        }
        for told in told {
            let decided = decides(&told);
            self.tell(told, false);
            if decided {
                self.backlog.push(Frame::bare(status.clone()).into());
            }
        }
        Ok(())
    }
}

/// The frames that ended an input's turn, when it ended.
async fn last_frames(
    door: &Door<Construct>,
    handle: &SessionHandle,
    accepted: &Accepted,
) -> Result<Vec<Told>, moongate_core::StoreError> {
    let mut fold = SessionFold::new(door.app().gateway().catalog().models.clone(), Counts::default());
    let (mut told, mut turn, mut found) = (Vec::new(), None, Vec::new());
    let before = Seq(accepted.position.seq.0.saturating_sub(1));
    attach::read(handle, before, |body| {
        fold.take(body, &mut told);
        told.clear();
        if fold.turn().is_some_and(|running| running.input == Some(accepted.input)) {
            turn = fold.turn().map(|running| running.id);
        }
        match fold.ending().filter(|ending| Some(ending.turn) == turn) {
            Some(ending) => {
                found.clone_from(&ending.told);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    })
    .await?;
    Ok(found)
}

fn storage() -> Problem {
    let problem = plain("STORAGE_ERROR", "The message could not be stored and was not taken.");
    Problem { retryable: true, ..problem }
}

fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
