//! A socket's place in a session: what it is told when it comes, and what comes after.

use std::sync::Arc;

use moongate_core::{Follower, Frame, FrameBody, Refusal, SessionHandle, StoreError, limits::READ_BATCH};
use moongate_protocol::{ErrorCode, Seq, Timestamp};

use super::{
    Construct,
    fold::{SessionFold, Told},
    frames::{SessionStart, StateName, Word},
    id::ChatId,
};
use crate::{caller::Authenticated, door::shared::Door};

/// Frames of one exact replay; a client that missed more begins anew.
const REPLAY_FRAMES: usize = 10_000;
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
    frames: Vec<Arc<Frame>>,
}

/// What a socket is told first.
pub(super) struct Arrival {
    pub(super) start: SessionStart,
    pub(super) turn: Option<moongate_protocol::TurnId>,
    /// Frames that were sent before, or might have been.
    pub(super) replay: Vec<Told>,
}

impl Attached {
    /// Follows a session from its beginning.
    pub(super) fn new(handle: SessionHandle, door: &Door<Construct>) -> Self {
        let models = Arc::clone(&door.app().gateway().catalog().models);
        let follower = handle.follow(None);
        Self { handle, fold: SessionFold::new(models), follower, frames: Vec::new() }
    }

    /// The client's session, where there is one.
    pub(super) async fn find(
        door: &Door<Construct>,
        caller: &Authenticated,
        id: &ChatId,
    ) -> Result<Option<Self>, Refusal> {
        Ok(door.find(caller, id).await?.map(|handle| Self::new(handle, door)))
    }

    /// Waits for what comes next; appends what sockets are told of it. Cancel-safe.
    pub(super) async fn next(&mut self, told: &mut Vec<Told>) -> Result<(), StoreError> {
        self.follower.next(&mut self.frames).await?;
        for frame in self.frames.drain(..) {
            self.fold.take(&frame.body, told);
        }
        Ok(())
    }

    /// Takes in everything there is; what a socket that comes now is told.
    pub(super) async fn arrive(
        &mut self,
        id: &ChatId,
        resume: Option<&Resume>,
        late: impl Fn(&Self) -> Vec<Told>,
    ) -> Result<Arrival, StoreError> {
        let head = self.follower.head();
        let mut replay = Replay { after: resume.map(|resume| resume.last_seq), told: Vec::new() };
        let mut caught_up = false;
        while self.follower.ready(&mut self.frames).await? {
            for frame in self.frames.drain(..) {
                replay.take(&frame.body, &mut self.fold);
            }
            let seq = self.fold.view().map_or(Seq::ZERO, |view| view.head.seq);
            // Once more, for what is being written at this moment.
            if std::mem::replace(&mut caught_up, seq >= head.seq) {
                break;
            }
        }
        let honoured = resume.is_some_and(|resume| self.serves(resume)) && replay.told.len() <= REPLAY_FRAMES;
        let told = match (honoured, self.fold.turn()) {
            (true, _) => replay.told,
            (false, Some(_)) => self.fold.snapshot(),
            (false, None) => late(self),
        };
        let turn = self.fold.turn().map(|turn| turn.id);
        let turn = turn.or_else(|| self.fold.ending().filter(|e| e.failed).map(|ending| ending.turn));
        Ok(Arrival { start: self.start(id, resume.is_some() && !honoured), turn, replay: told })
    }

    fn serves(&self, resume: &Resume) -> bool {
        let Some(view) = self.fold.view() else { return false };
        // A client that came before the session began has no other name for its log.
        let before = resume.epoch.strip_prefix(UNBORN).and_then(|millis| millis.parse().ok());
        let same = match before.map(Timestamp::from_millis) {
            Some(before) => view.created_at >= before,
            None => view.head.epoch.to_string() == resume.epoch,
        };
        same && resume.last_seq <= view.head.seq.0
    }

    fn start(&self, id: &ChatId, reset: bool) -> SessionStart {
        let view = self.fold.view();
        let rows = self.fold.rows();
        SessionStart {
            session_id: id.to_string(),
            resumed: rows > 0,
            message_count: rows,
            name: view.and_then(|view| view.title.clone()),
            epoch: view.map_or_else(String::new, |view| view.head.epoch.to_string()),
            last_seq: view.map_or(0, |view| view.head.seq.0),
            state: self.fold.state(),
            queue_depth: self.fold.depth(),
            agent: view.map_or_else(String::new, |view| view.agent.to_string()),
            reset,
        }
    }
}

struct Replay {
    after: Option<u64>,
    told: Vec<Told>,
}

impl Replay {
    fn take(&mut self, body: &FrameBody, fold: &mut SessionFold) {
        let mut told = Vec::new();
        fold.take(body, &mut told);
        let Some(after) = self.after else { return };
        let seen = matches!(body, FrameBody::Event(record) if record.position().seq.0 <= after);
        if !seen && self.told.len() <= REPLAY_FRAMES {
            self.told.extend(told);
        }
    }
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

/// The fold of a session's whole log as it is on disk.
pub(super) async fn fold_of(
    handle: &SessionHandle,
    door: &Door<Construct>,
) -> Result<SessionFold, StoreError> {
    let mut fold = SessionFold::new(Arc::clone(&door.app().gateway().catalog().models));
    let mut told = Vec::new();
    read(handle, |frame| {
        fold.take(frame, &mut told);
        told.clear();
    })
    .await?;
    Ok(fold)
}

/// Reads a session's log from its beginning.
pub(super) async fn read(handle: &SessionHandle, mut take: impl FnMut(&FrameBody)) -> Result<(), StoreError> {
    let mut after = Seq::ZERO;
    loop {
        let records = handle.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Ok(()) };
        after = last.position().seq;
        for record in records {
            take(&FrameBody::Event(record));
        }
    }
}

/// Whether a session that cannot be read any more was deleted.
pub(super) fn is_gone(error: &StoreError) -> bool {
    error.code() == ErrorCode::NotFound
}

/// The late answer, as a client that knows no `aborted` is told it.
pub(super) fn late_answer(told: &[Told]) -> Vec<Told> {
    told.iter().filter(|told| !matches!(told.word, Word::Aborted(_))).cloned().collect()
}
