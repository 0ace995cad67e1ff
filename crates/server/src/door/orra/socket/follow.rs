//! The sessions a socket follows, and which of their frames it is sent.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use moongate_core::{ApprovalFilter, ApprovalQuery, Frame as CoreFrame, SessionHandle, StoreError};
use moongate_protocol::{ApprovalId, Event, InputId, Position, Seq, SessionId};
use tokio::time::sleep;

use super::Extensions;
use crate::{
    App,
    caller::Authenticated,
    door::{
        orra::{
            chat::{Begun, Ready},
            fault::{Code, Fault, Reply},
            frames::{About, Error, Frame, What},
            name::Name,
            translate::{Fold, Shown, Tale, question},
        },
        shared::{following::Followings, rate::Share},
    },
    limits::WS_SUBSCRIPTIONS,
};

/// Events read at once when looking for the beginning of a turn.
const BATCH: usize = 256;
/// Open questions of one session that are shown.
const QUESTIONS: usize = 64;

type Wait<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The sessions a socket follows.
pub(super) struct Follows {
    ext: Extensions,
    followings: Followings<SessionId>,
    sessions: HashMap<SessionId, Followed>,
    /// Inputs whose turns have to begin in time.
    timers: FuturesUnordered<Wait<(SessionHandle, InputId)>>,
    /// Inputs that are being taken back.
    withdrawals: FuturesUnordered<Wait<(SessionId, InputId, bool)>>,
}

struct Followed {
    name: Arc<str>,
    fold: Fold,
    subscribed: bool,
    /// What is shown up to this event was there before the subscription.
    replay_to: Option<u64>,
    /// Inputs of this socket that have no end yet.
    mine: HashMap<InputId, Mine>,
    /// Inputs that did not begin in time.
    late: HashSet<InputId>,
    /// Questions this socket was shown.
    asked: HashSet<ApprovalId>,
}

struct Mine {
    request_id: Option<Arc<str>>,
    /// Held until the input's end.
    _share: Option<Share>,
}

impl Follows {
    pub(super) fn new(ext: Extensions) -> Self {
        Self {
            ext,
            followings: Followings::new(),
            sessions: HashMap::new(),
            timers: FuturesUnordered::new(),
            withdrawals: FuturesUnordered::new(),
        }
    }

    /// Something was said on this socket: its frames are shown here.
    pub(super) async fn said(
        &mut self,
        ready: &Ready,
        begun: Begun,
        request_id: Option<Arc<str>>,
        share: Option<Share>,
    ) -> Reply<()> {
        let (id, input) = (ready.session.id(), begun.accepted.input);
        if !self.sessions.contains_key(&id) {
            self.make_room()?;
            let at = begun.accepted.position;
            let before = Position { epoch: at.epoch, seq: Seq(at.seq.0.saturating_sub(1)) };
            let idle = begun.accepted.queue_length == 0;
            // Where another turn runs its questions are shown here too: what it is has to be known.
            let (fold, follower) = match idle {
                true => (Fold::default(), begun.follower),
                false => (warm(&ready.session, before.seq).await?.0, ready.session.follow(Some(before))),
            };
            self.followings.follow(id, follower);
            self.sessions.insert(id, Followed::new(ready.name.as_str(), fold));
        }
        if let Some(followed) = self.sessions.get_mut(&id) {
            followed.mine.insert(input, Mine { request_id, _share: share });
        }
        Ok(())
    }

    /// Takes an input back unless its turn begins in time.
    pub(super) fn waits(&mut self, session: SessionHandle, input: InputId, patience: Duration) {
        self.timers.push(Box::pin(async move {
            sleep(patience).await;
            (session, input)
        }));
    }

    /// Follows a session whoever speaks there: the answer, after which its frames come.
    pub(super) async fn subscribe(
        &mut self,
        name: &Name,
        session: SessionHandle,
        after: Option<u64>,
        epoch: Option<String>,
    ) -> Reply<Frame> {
        let (id, head) = (session.id(), session.head());
        if !self.sessions.contains_key(&id) {
            self.make_room()?;
        }
        let foreign = epoch.is_some_and(|epoch| epoch != head.epoch.to_string());
        let reset = foreign || after.is_some_and(|after| after > head.seq.0);
        let (now, began) = warm(&session, head.seq).await?;
        let start = match after.filter(|_| !reset) {
            Some(after) => Seq(after),
            None if now.is_running() => began,
            None => head.seq,
        };
        let (fold, _) = warm(&session, start).await?;
        let mut followed = Followed::new(name.as_str(), fold);
        followed.subscribed = true;
        followed.replay_to = Some(head.seq.0);
        if let Some(before) = self.sessions.remove(&id) {
            (followed.mine, followed.late) = (before.mine, before.late);
        }
        self.followings.follow(id, session.follow(Some(Position { epoch: head.epoch, seq: start })));
        self.sessions.insert(id, followed);
        let what = What::Subscribed {
            epoch: head.epoch.to_string(),
            last_seq: head.seq.0,
            state: now.state(),
            reset,
        };
        Ok(Frame { what, about: About { namespace: Some(name.as_str().into()), ..About::default() } })
    }

    /// The questions of a session that are open and were not shown here yet.
    pub(super) async fn open_questions(
        &mut self,
        app: &App,
        caller: &Authenticated,
        session: SessionId,
    ) -> Vec<Frame> {
        let query = ApprovalQuery {
            filter: ApprovalFilter::Open,
            session: Some(session),
            limit: QUESTIONS,
            ..ApprovalQuery::default()
        };
        let open = match app.gateway().approvals(caller, query).await {
            Ok(open) => open,
            Err(refusal) => {
                tracing::error!(session.id = %session, %refusal, "open questions cannot be listed");
                return Vec::new();
            }
        };
        let Some(followed) = self.sessions.get_mut(&session) else { return Vec::new() };
        let fresh = open.into_iter().filter(|view| followed.asked.insert(view.request.approval));
        let frames = fresh.map(|view| Frame {
            what: What::ToolApprovalRequest(question(&view.request, app.gateway().ids().now())),
            about: About {
                namespace: Some(Arc::clone(&followed.name)),
                turn_id: Some(view.request.turn),
                ..About::default()
            },
        });
        frames.collect()
    }

    /// The next frames to send; never, when nothing is followed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<Frame> {
        loop {
            tokio::select! {
                biased;
                Some((session, input, withdrawn)) = self.withdrawals.next(), if !self.withdrawals.is_empty() => {
                    if let Some(followed) = self.sessions.get_mut(&session).filter(|_| !withdrawn) {
                        followed.late.remove(&input);
                    }
                }
                Some((session, input)) = self.timers.next(), if !self.timers.is_empty() => {
                    self.withdraw(session, input);
                }
                (id, result) = self.followings.next() => return self.translate(id, result),
            }
        }
    }

    /// Its turn did not begin in time.
    fn withdraw(&mut self, session: SessionHandle, input: InputId) {
        let id = session.id();
        let mine = self.sessions.get_mut(&id).filter(|followed| followed.mine.contains_key(&input));
        let Some(followed) = mine else { return };
        // Written down first: the log may tell of it before the answer is here.
        followed.late.insert(input);
        self.withdrawals.push(Box::pin(async move { (id, input, session.withdraw(input).await.is_ok()) }));
    }

    fn translate(&mut self, id: SessionId, result: Result<Vec<Arc<CoreFrame>>, StoreError>) -> Vec<Frame> {
        let Some(followed) = self.sessions.get_mut(&id) else { return Vec::new() };
        let frames = match result {
            Ok(frames) => frames,
            Err(error) => {
                tracing::error!(session.id = %id, %error, "a session cannot be followed");
                let fault = Code::StorageError.into();
                let frames = followed.end_all(fault);
                self.sessions.remove(&id);
                return frames;
            }
        };
        let caught_up = followed.replay_to.is_some_and(|to| followed.fold.seq() >= to);
        let (mut shown, mut out) = (Vec::new(), Vec::new());
        for frame in frames {
            followed.fold.take(&frame, &mut shown);
        }
        let mut deleted = false;
        for shown in shown {
            deleted |= matches!(shown.tale, Tale::Deleted);
            followed.show(self.ext, shown, &mut out);
        }
        if caught_up {
            followed.replay_to = None;
        }
        if deleted {
            self.sessions.remove(&id);
            self.followings.stop(&id);
        }
        out
    }

    /// Lets go of a session nobody waits for, where too many are followed.
    fn make_room(&mut self) -> Reply<()> {
        if self.followings.len() < WS_SUBSCRIPTIONS {
            return Ok(());
        }
        let idle = |(_, followed): &(&SessionId, &Followed)| !followed.subscribed && followed.mine.is_empty();
        let Some(id) = self.sessions.iter().find(idle).map(|(id, _)| *id) else {
            return Err(Fault::later(Code::RateLimited, Duration::from_secs(5)));
        };
        self.followings.stop(&id);
        self.sessions.remove(&id);
        Ok(())
    }
}

impl Followed {
    fn new(name: &str, fold: Fold) -> Self {
        Self {
            name: name.into(),
            fold,
            subscribed: false,
            replay_to: None,
            mine: HashMap::new(),
            late: HashSet::new(),
            asked: HashSet::new(),
        }
    }

    fn show(&mut self, ext: Extensions, shown: Shown, out: &mut Vec<Frame>) {
        let last = shown.is_last();
        let Shown { inputs, turn, seq, tale } = shown;
        let own: Vec<InputId> = inputs.into_iter().filter(|input| self.mine.contains_key(input)).collect();
        let request_id = own.first().and_then(|input| self.mine.get(input)?.request_id.clone());
        let about = About {
            namespace: Some(Arc::clone(&self.name)),
            turn_id: turn,
            request_id,
            seq: Some(seq),
            replay: self.replay_to.is_some_and(|to| seq <= to),
        };
        let is_for_me = self.subscribed || !own.is_empty();
        match tale {
            Tale::Frame(what) if is_for_me && ext.reads(&what) => out.push(Frame { what, about }),
            Tale::Frame(_) => {}
            Tale::Question(approval, question) => {
                if self.asked.insert(approval) {
                    out.push(Frame { what: What::ToolApprovalRequest(question), about });
                }
            }
            Tale::Withdrawn => {
                let late = own.iter().any(|input| self.late.remove(input));
                let code = if late { Code::QueueTimeout } else { Code::Cancelled };
                if !own.is_empty() {
                    out.push(Frame { what: What::Error(Error::of(code.into(), None)), about });
                }
            }
            Tale::Deleted => out.extend(self.end_all(Code::Cancelled.into())),
        }
        if last {
            own.iter().for_each(|input| drop(self.mine.remove(input)));
        }
    }

    /// Tells every chat of this socket that it is over.
    fn end_all(&mut self, fault: Fault) -> Vec<Frame> {
        let ended = self.mine.drain().map(|(_, mine)| Frame {
            what: What::Error(Error::of(fault, None)),
            about: About {
                namespace: Some(Arc::clone(&self.name)),
                request_id: mine.request_id,
                ..About::default()
            },
        });
        ended.collect()
    }
}

/// The fold of a session as it was at an event, and the event before its last turn.
async fn warm(session: &SessionHandle, to: Seq) -> Reply<(Fold, Seq)> {
    let mut from = Seq(to.0.saturating_sub(BATCH as u64));
    let began = loop {
        let records = session.read(from, BATCH).await?;
        let starts = |record: &&Arc<moongate_core::Record>| {
            record.position().seq <= to
                && record.envelope().is_ok_and(|envelope| matches!(envelope.event, Event::TurnStarted(_)))
        };
        match records.iter().rev().find(starts) {
            Some(record) => break Seq(record.position().seq.0.saturating_sub(1)),
            None if from == Seq::ZERO => break Seq::ZERO,
            None => from = Seq(from.0.saturating_sub(BATCH as u64)),
        }
    };
    let (mut fold, mut after, mut nobody) = (Fold::default(), began, Vec::new());
    while after < to {
        let records = session.read(after, BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in records.iter().filter(|record| record.position().seq <= to) {
            if let Ok(envelope) = record.envelope() {
                fold.event(envelope, &mut nobody);
            }
        }
        nobody.clear();
    }
    Ok((fold, began))
}
