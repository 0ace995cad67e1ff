//! The sessions a socket follows, and which of their frames it is sent.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use moongate_core::{Frame as CoreFrame, SessionHandle, StoreError};
use moongate_protocol::{ApprovalId, Envelope, Event, InputId, Position, Seq, SessionId, Timestamp};
use tokio::time::sleep;

use super::{Extensions, warm::warm};
use crate::{
    App,
    door::{
        orra::{
            chat::Begun,
            fault::{Code, Fault, Reply},
            frames::{About, Error, Frame, What},
            name::Name,
            translate::{Fold, Shown, Tale, decided, question},
        },
        shared::{
            following::Followings,
            kin::{Kin, Tidings},
        },
    },
    limits::WS_SUBSCRIPTIONS,
};

type Wait<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The sessions a socket follows.
pub(super) struct Follows {
    app: App,
    ext: Extensions,
    kin: Kin,
    followings: Followings<SessionId>,
    /// Each in a box: a table keeps more places than it uses.
    sessions: HashMap<SessionId, Box<Followed>>,
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
    /// Inputs of this socket that have no end yet, and what the client calls each.
    mine: HashMap<InputId, Option<Arc<str>>>,
    /// Inputs that did not begin in time.
    late: HashSet<InputId>,
    /// Questions this socket was shown.
    asked: HashSet<ApprovalId>,
}

impl Follows {
    pub(super) fn new(app: App, ext: Extensions, kin: Kin) -> Self {
        Self {
            app,
            ext,
            kin,
            followings: Followings::new(),
            sessions: HashMap::new(),
            timers: FuturesUnordered::new(),
            withdrawals: FuturesUnordered::new(),
        }
    }

    /// Something was said on this socket: its frames are shown here, and the questions that are open.
    pub(super) async fn said(
        &mut self,
        name: &Name,
        begun: Begun,
        request_id: Option<Arc<str>>,
    ) -> Reply<Vec<Frame>> {
        let Begun { session, accepted, follower, .. } = begun;
        let before = Seq(accepted.position.seq.0.saturating_sub(1));
        // Nothing ran before it: what comes says all there is to know.
        let live = (accepted.queue_length == 0).then_some(follower);
        let questions = match live {
            Some(follower) if !self.sessions.contains_key(&session.id()) => {
                self.followings.follow(session.id(), follower);
                self.sessions.insert(session.id(), Box::new(Followed::new(name.as_str(), Fold::default())));
                Vec::new()
            }
            _ => self.attend(name, &session, Some(before)).await?,
        };
        if let Some(followed) = self.sessions.get_mut(&session.id()) {
            followed.mine.insert(accepted.input, request_id);
        }
        Ok(questions)
    }

    /// Follows a session from an event on, its head unless another is named: this socket's questions and chats are
    /// shown here. The questions that are open then.
    pub(super) async fn attend(
        &mut self,
        name: &Name,
        session: &SessionHandle,
        after: Option<Seq>,
    ) -> Reply<Vec<Frame>> {
        let (id, head) = (session.id(), session.head());
        if self.sessions.contains_key(&id) {
            return Ok(Vec::new());
        }
        let after = Position { seq: after.unwrap_or(head.seq), ..head };
        let mut followed = Followed::new(name.as_str(), warm(session, after.seq).await?.0);
        followed.fold.delegated().for_each(|started| self.kin.meet(id, started));
        let questions = followed.questions(self.now(), |_| true);
        self.followings.follow(id, session.follow(Some(after)));
        self.sessions.insert(id, Box::new(followed));
        Ok(questions)
    }

    /// Takes an input back unless its turn begins in time.
    pub(super) fn waits(&mut self, session: SessionHandle, input: InputId, patience: Duration) {
        self.timers.push(Box::pin(async move {
            sleep(patience).await;
            (session, input)
        }));
    }

    /// Follows a session whoever speaks there: the answer, and the questions that are open and not among what comes.
    pub(super) async fn subscribe(
        &mut self,
        name: &Name,
        session: SessionHandle,
        after: Option<u64>,
        epoch: Option<String>,
    ) -> Reply<Vec<Frame>> {
        let (id, head) = (session.id(), session.head());
        let foreign = epoch.is_some_and(|epoch| epoch != head.epoch.to_string());
        let reset = foreign || after.is_some_and(|after| after > head.seq.0);
        let (now, began) = warm(&session, head.seq).await?;
        let start = match after.filter(|_| !reset) {
            Some(after) => Seq(after),
            None if now.is_running() => began,
            None => head.seq,
        };
        let (fold, _) = warm(&session, start).await?;
        now.delegated().for_each(|started| self.kin.meet(id, started));
        let mut followed = Followed::new(name.as_str(), fold);
        followed.subscribed = true;
        followed.replay_to = Some(head.seq.0);
        if let Some(before) = self.sessions.remove(&id) {
            (followed.mine, followed.late) = (before.mine, before.late);
        }
        let what = What::Subscribed {
            epoch: head.epoch.to_string(),
            last_seq: head.seq.0,
            state: now.state(),
            reset,
        };
        let mut frames =
            vec![Frame { what, about: About { namespace: Some(name.as_str().into()), ..About::default() } }];
        frames.extend(followed.questions(self.now(), |id| now.questions().any(|open| open.approval == id)));
        self.followings.follow(id, session.follow(Some(Position { epoch: head.epoch, seq: start })));
        self.sessions.insert(id, Box::new(followed));
        Ok(frames)
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
                // Before the session itself: what another agent did comes before what came of it.
                tidings = self.kin.next() => return self.relate(&tidings),
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
        followed.fold.delegated().for_each(|started| self.kin.meet(id, started));
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

    /// What people are asked by an agent that works for a turn of a session, they are asked here.
    fn relate(&mut self, tidings: &Tidings) -> Vec<Frame> {
        let Some(followed) = self.sessions.get_mut(&tidings.root) else { return Vec::new() };
        let mut frames = Vec::new();
        for envelope in &tidings.events {
            match &envelope.event {
                Event::ApprovalRequested(asked)
                    if !is_decided(asked.approval, &tidings.events)
                        && followed.asked.insert(asked.approval) =>
                {
                    let what = What::ToolApprovalRequest(question(asked, envelope.at));
                    frames.push(Frame { what, about: followed.about_turn() });
                }
                Event::ApprovalResolved(resolved) if followed.asked.contains(&resolved.approval) => {
                    let what = decided(resolved, false);
                    if self.ext.reads(&what) {
                        frames.push(Frame { what, about: followed.about_turn() });
                    }
                }
                _ => {}
            }
        }
        frames
    }

    fn now(&self) -> Timestamp {
        self.app.gateway().ids().now()
    }

    /// Makes room for a session of this name, where too many are followed: lets go of one nobody waits for.
    pub(super) fn make_room(&mut self, name: &Name) -> Reply<()> {
        let is_there = self.sessions.values().any(|followed| &*followed.name == name.as_str());
        if is_there || self.followings.len() < WS_SUBSCRIPTIONS {
            return Ok(());
        }
        let mut idle = self.sessions.iter().filter(|(_, one)| !one.subscribed && one.mine.is_empty());
        let Some(id) = idle.next().map(|(id, _)| *id) else {
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

    /// The questions that are open where the fold stands, of those that are `wanted`.
    fn questions(&mut self, at: Timestamp, wanted: impl Fn(ApprovalId) -> bool) -> Vec<Frame> {
        let Self { name, fold, asked, .. } = self;
        let open = fold.questions().filter(|question| wanted(question.approval));
        let fresh = open.filter(|question| asked.insert(question.approval));
        let frames = fresh.map(|request| Frame {
            what: What::ToolApprovalRequest(question(request, at)),
            about: About {
                namespace: Some(Arc::clone(name)),
                turn_id: Some(request.turn),
                seq: Some(fold.seq()),
                replay: true,
                ..About::default()
            },
        });
        frames.collect()
    }

    fn show(&mut self, ext: Extensions, shown: Shown, out: &mut Vec<Frame>) {
        let last = shown.is_last();
        let Shown { inputs, turn, seq, tale } = shown;
        let own: Vec<InputId> = inputs.into_iter().filter(|input| self.mine.contains_key(input)).collect();
        let request_id = own.first().and_then(|input| self.mine.get(input)?.clone());
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

    /// What is said of the turn that runs.
    fn about_turn(&self) -> About {
        let (turn_id, inputs) = self.fold.turn().unzip();
        let mine = inputs.into_iter().flatten().find_map(|input| self.mine.get(input));
        let request_id = mine.cloned().flatten();
        About { namespace: Some(Arc::clone(&self.name)), turn_id, request_id, ..About::default() }
    }

    /// Tells every chat of this socket that it is over.
    fn end_all(&mut self, fault: Fault) -> Vec<Frame> {
        let ended = self.mine.drain().map(|(_, request_id)| Frame {
            what: What::Error(Error::of(fault, None)),
            about: About { namespace: Some(Arc::clone(&self.name)), request_id, ..About::default() },
        });
        ended.collect()
    }
}

/// Whether somebody decided already, or nobody can any more.
fn is_decided(approval: ApprovalId, events: &[Envelope]) -> bool {
    events.iter().any(|envelope| match &envelope.event {
        Event::ApprovalResolved(resolved) => resolved.approval == approval,
        event => event.ends_turn().is_some(),
    })
}
