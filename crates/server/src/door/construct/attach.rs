//! A socket's place in a session: what it is told when it comes, and what comes after.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use moongate_core::{
    Follower, Frame, FrameBody, Refusal, SessionHandle, StoreError, TurnQuery, limits::READ_BATCH,
};
use moongate_protocol::{ContextCompacted, ErrorCode, Event, Position, Seq, SessionView, Tenant, Timestamp};

use super::{
    Construct,
    fold::{Counts, SessionFold, Told},
    frames::{HistoryTrimmed, SessionStart, StateName, Word},
    id::ChatId,
    rows::Rows,
    standing::{self, Standing},
};
use crate::door::shared::Door;

/// Events of one exact replay, about one frame each; a client that missed more begins anew.
const REPLAY_EVENTS: u64 = 10_000;
/// Turns read from the list at once.
const TURNS: usize = 64;
/// What the epoch of a session that is not there begins with; the time follows.
const UNBORN: &str = "new-";

/// Where a client says that it stands.
#[derive(Clone, Debug)]
pub(super) struct Resume {
    pub(super) last_seq: u64,
    pub(super) epoch: String,
}

/// A session that a socket follows.
pub(super) struct Attached {
    pub(super) handle: SessionHandle,
    pub(super) fold: SessionFold,
    follower: Follower,
    /// What the follower handed out and the fold did not take in yet.
    frames: VecDeque<Arc<Frame>>,
    handed: Vec<Arc<Frame>>,
    /// Nothing is told of events up to this one.
    quiet_to: u64,
    /// What is told of events up to this one was told before.
    pub(super) replay_to: u64,
}

/// What a socket is told first.
pub(super) struct Arrival {
    pub(super) start: SessionStart,
    pub(super) turn: Option<moongate_protocol::TurnId>,
    /// Frames that were sent before, or might have been.
    pub(super) replay: Vec<Told>,
}

impl Attached {
    /// Follows a session from its beginning: it was just begun.
    pub(super) fn new(handle: SessionHandle, door: &Door<Construct>) -> Self {
        Self::after(handle, door, Seq::ZERO, Counts::default())
    }

    fn after(handle: SessionHandle, door: &Door<Construct>, after: Seq, counts: Counts) -> Self {
        let models = Arc::clone(&door.app().gateway().catalog().models);
        let after = (after > Seq::ZERO).then(|| Position { seq: after, ..handle.head() });
        let follower = handle.follow(after);
        let fold = SessionFold::new(models, counts);
        let (frames, handed) = (VecDeque::new(), Vec::new());
        Self { handle, fold, follower, frames, handed, quiet_to: 0, replay_to: 0 }
    }

    /// Waits for what comes next; appends what sockets are told of it. Cancel-safe.
    pub(super) async fn next(&mut self, told: &mut Vec<Told>) -> Result<(), StoreError> {
        if self.frames.is_empty() {
            self.follower.next(&mut self.handed).await?;
            self.frames.extend(self.handed.drain(..));
        }
        self.take(told).await
    }

    /// Takes in what was handed out. Cancel-safe.
    async fn take(&mut self, told: &mut Vec<Told>) -> Result<(), StoreError> {
        while let Some(frame) = self.frames.front() {
            if let Some(compacted) = compacted(&frame.body) {
                let trimmed = trimmed(&self.handle, compacted, self.fold.seq()).await?;
                self.fold.trims(trimmed);
            }
            let quiet =
                matches!(&frame.body, FrameBody::Event(record) if record.position().seq.0 <= self.quiet_to);
            let before = told.len();
            self.fold.take(&frame.body, told);
            if quiet {
                told.truncate(before);
            }
            self.frames.pop_front();
        }
        Ok(())
    }

    /// Comes to a session that is there: what a socket is told first.
    pub(super) async fn arrive(
        door: &Door<Construct>,
        handle: SessionHandle,
        id: &ChatId,
        resume: Option<&Resume>,
    ) -> Result<(Self, Arrival), Refusal> {
        let view = handle.view().await?;
        let counts = standing::counts(&handle, &view).await?;
        let tenant = handle.identity().tenant.clone();
        let standing = Standing::of(door, &tenant, view).await?;
        match resume.filter(|resume| serves(&standing.view, resume)) {
            Some(resume) => {
                let after = began_before(door, &tenant, &handle, resume.last_seq).await?;
                let mut attached = Self::after(handle, door, after, counts);
                (attached.quiet_to, attached.replay_to) = (resume.last_seq, standing.view.head.seq.0);
                let start = start(id, &standing, attached.fold.counts(), false);
                let turn = standing.turn();
                Ok((attached, Arrival { start, turn, replay: Vec::new() }))
            }
            None => {
                let after = Seq(standing.before_last_turn());
                let mut attached = Self::after(handle, door, after, counts);
                attached.catch_up().await?;
                let arrival = attached.arrived(door, id, &standing, resume.is_some());
                Ok((attached, arrival))
            }
        }
    }

    /// Takes in everything there is, and what is being written at this moment.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let head = self.follower.head();
        let (mut unheard, mut caught_up) = (Vec::new(), false);
        while self.follower.ready(&mut self.handed).await? {
            self.frames.extend(self.handed.drain(..));
            self.take(&mut unheard).await?;
            unheard.clear();
            if std::mem::replace(&mut caught_up, self.fold.seq() >= head.seq.0) {
                break;
            }
        }
        Ok(())
    }

    fn arrived(&self, door: &Door<Construct>, id: &ChatId, standing: &Standing, reset: bool) -> Arrival {
        let replay = match self.fold.turn() {
            Some(_) => self.fold.snapshot(),
            None => late(door, self),
        };
        let failed = self.fold.ending().filter(|ending| ending.failed).map(|ending| ending.turn);
        let turn = self.fold.turn().map(|turn| turn.id).or(failed);
        let start = SessionStart {
            last_seq: self.fold.seq().max(standing.view.head.seq.0),
            state: self.fold.state(),
            queue_depth: self.fold.depth(),
            ..start(id, standing, self.fold.counts(), reset)
        };
        Arrival { start, turn, replay }
    }
}

fn start(id: &ChatId, standing: &Standing, counts: &Counts, reset: bool) -> SessionStart {
    let view = &standing.view;
    SessionStart {
        session_id: id.to_string(),
        resumed: counts.rows > 0,
        message_count: counts.rows,
        name: counts.name.clone(),
        epoch: view.head.epoch.to_string(),
        last_seq: view.head.seq.0,
        state: standing.state(),
        queue_depth: standing.depth(),
        agent: view.agent.to_string(),
        reset,
    }
}

/// Whether a client may go on from where it stands.
fn serves(view: &SessionView, resume: &Resume) -> bool {
    // A client that came before the session began has no other name for its log.
    let before = resume.epoch.strip_prefix(UNBORN).and_then(|millis| millis.parse().ok());
    let same = match before.map(Timestamp::from_millis) {
        Some(before) => view.created_at >= before,
        None => view.head.epoch.to_string() == resume.epoch,
    };
    let missed = view.head.seq.0.checked_sub(resume.last_seq);
    same && missed.is_some_and(|missed| missed <= REPLAY_EVENTS)
}

/// The event before the turn that an event is in or after.
async fn began_before(
    door: &Door<Construct>,
    tenant: &Tenant,
    handle: &SessionHandle,
    seq: u64,
) -> Result<Seq, StoreError> {
    let mut query = TurnQuery { session: Some(handle.id()), limit: TURNS, ..TurnQuery::default() };
    loop {
        let rows = door.app().gateway().store().turns(tenant, &query).await?;
        if let Some(row) = rows.iter().find(|row| row.seq.0 <= seq) {
            return Ok(Seq(row.seq.0.saturating_sub(1)));
        }
        if rows.len() < TURNS {
            // It is before all turns: nothing before it says how to read what follows.
            return Ok(Seq(seq));
        }
        query.offset += rows.len();
    }
}

/// The last answer, when nobody saw it and it is not old.
fn late(door: &Door<Construct>, attached: &Attached) -> Vec<Told> {
    let Some(ending) = attached.fold.ending() else { return Vec::new() };
    let kept = Duration::from_secs(door.settings.timing.late_answer_secs);
    let fresh = door.now().since(ending.at) < kept;
    if !fresh || door.seen.covers(attached.handle.id(), ending.seq) {
        return Vec::new();
    }
    // As a client that knows no `aborted` is told it.
    ending.told.iter().filter(|told| !matches!(told.word, Word::Aborted(_))).cloned().collect()
}

fn compacted(body: &FrameBody) -> Option<ContextCompacted> {
    let FrameBody::Event(record) = body else { return None };
    match &record.envelope().ok()?.event {
        Event::ContextCompacted(compacted) => Some(compacted.clone()),
        _ => None,
    }
}

/// What a summary stands for: the messages it replaces, and the turns from there to `head` that are kept.
async fn trimmed(
    handle: &SessionHandle,
    compacted: ContextCompacted,
    head: u64,
) -> Result<HistoryTrimmed, StoreError> {
    let (mut dropped_messages, mut kept_turns) = (0, 0);
    read(handle, Seq(compacted.from.0.saturating_sub(1)), |body| {
        let FrameBody::Event(record) = body else { return ControlFlow::Continue(()) };
        let seq = record.position().seq;
        if seq.0 > head {
            return ControlFlow::Break(());
        }
        let replaced = seq <= compacted.to;
        match record.envelope().map(|envelope| &envelope.event) {
            Ok(Event::TurnStarted(started)) if replaced => dropped_messages += started.inputs.len() as u64,
            Ok(Event::MessageCompleted(_)) if replaced => dropped_messages += 1,
            Ok(Event::TurnStarted(_)) => kept_turns += 1,
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(HistoryTrimmed { dropped_messages, kept_turns, reason: "context_window" })
}

/// What a socket is told of a session nobody has begun.
pub(super) fn unborn(id: &ChatId, agent: &str, reset: bool, now: Timestamp) -> SessionStart {
    SessionStart {
        session_id: id.to_string(),
        resumed: false,
        message_count: 0,
        name: None,
        epoch: format!("{UNBORN}{}", now.as_millis()),
        last_seq: 0,
        state: StateName::Idle,
        queue_depth: 0,
        agent: agent.to_owned(),
        reset,
    }
}

/// Rows of a session's messages route.
pub(super) async fn rows(handle: &SessionHandle) -> Result<u64, StoreError> {
    let mut rows = Rows::new(false);
    read(handle, Seq::ZERO, |body| {
        if let FrameBody::Event(record) = body
            && let Ok(envelope) = record.envelope()
        {
            rows.take(envelope);
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(rows.finish().len() as u64)
}

/// Reads a session's log after an event, as far as it is wanted.
pub(super) async fn read(
    handle: &SessionHandle,
    mut after: Seq,
    mut take: impl FnMut(&FrameBody) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    loop {
        let records = handle.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Ok(()) };
        after = last.position().seq;
        for record in records {
            if take(&FrameBody::Event(record)).is_break() {
                return Ok(());
            }
        }
    }
}

/// Whether a session that cannot be read any more was deleted.
pub(super) fn is_gone(error: &StoreError) -> bool {
    error.code() == ErrorCode::NotFound
}
