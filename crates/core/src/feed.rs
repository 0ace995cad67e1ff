//! What a session's followers see live: published events, deltas of unfinished items, passing states.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use moongate_protocol::{Delta, DeltaKind, Event, ItemId, Notice, Part, Position, SessionId, TurnId};
use tokio::sync::Notify;

use crate::{
    Record,
    limits::{FOLLOWER_BYTES, FOLLOWER_FRAMES},
};

/// Number of encodings a frame can hold, one per door and transport.
const ENCODINGS: usize = 4;

/// Names one way to encode frames. Each door takes its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(usize);

impl Encoding {
    /// The native door's server-sent events.
    pub const NATIVE_SSE: Self = Self(0);
    /// The native door's WebSocket frames.
    pub const NATIVE_WS: Self = Self(1);
}

/// What one frame says.
#[derive(Debug)]
pub enum FrameBody {
    /// A numbered fact.
    Event(Arc<Record>),
    /// A piece of an unfinished item.
    Delta(Delta),
    /// A passing state.
    Notice(Notice),
    /// The asked-for position cannot be served: forget everything and start after this one.
    Reset(Position),
}

/// Something a follower is told. Shared by all followers and encoded at most once per encoding.
#[derive(Debug)]
pub struct Frame {
    /// What it says.
    pub body: FrameBody,
    encoded: [OnceLock<Bytes>; ENCODINGS],
}

impl Frame {
    /// A frame.
    pub fn new(body: FrameBody) -> Arc<Self> {
        Arc::new(Self { body, encoded: Default::default() })
    }

    /// The frame in one encoding, made by `encode` the first time anybody asks.
    pub fn encoded(&self, encoding: Encoding, encode: impl FnOnce(&FrameBody) -> Bytes) -> &Bytes {
        self.encoded[encoding.0].get_or_init(|| encode(&self.body))
    }

    /// The turn the frame belongs to, where it belongs to one.
    pub fn turn(&self) -> Option<TurnId> {
        match &self.body {
            FrameBody::Event(record) => record.envelope().ok().and_then(|e| e.event.turn()),
            FrameBody::Delta(delta) => Some(delta.turn),
            FrameBody::Notice(Notice::Waiting { turn, .. }) => Some(*turn),
            FrameBody::Notice(_) | FrameBody::Reset(_) => None,
        }
    }

    /// About how much memory the frame holds, in bytes.
    fn weight(&self) -> usize {
        match &self.body {
            FrameBody::Event(record) => record.json().len() + 256,
            FrameBody::Delta(delta) => delta.text.len() + 256,
            FrameBody::Notice(_) | FrameBody::Reset(_) => 256,
        }
    }
}

/// An item that is being written.
#[derive(Debug)]
struct OpenItem {
    turn: TurnId,
    item: ItemId,
    kind: DeltaKind,
    tool: Option<String>,
    text: String,
    chars: u64,
}

/// One session's live side. Cheap when nobody follows.
#[derive(Debug)]
pub struct Feed {
    session: SessionId,
    state: Mutex<FeedState>,
}

#[derive(Debug)]
struct FeedState {
    head: Position,
    open: Vec<OpenItem>,
    waiting: Option<Notice>,
    /// The last turn that ended: what its task may still say is not heard.
    ended: Option<TurnId>,
    followers: Vec<Weak<FollowerQueue>>,
}

/// The frames one follower has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct FollowerQueue {
    pending: Mutex<Pending>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    behind: bool,
}

/// What a follower starts from: the head when it was let in, and the unfinished items at that moment.
pub(crate) struct Joined {
    pub(crate) head: Position,
    pub(crate) unfinished: Vec<Arc<Frame>>,
}

/// What a follower finds when it looks for frames.
pub(crate) enum Taken {
    Frames,
    Nothing,
    /// It was too slow; its frames were dropped and it has to go back to the log.
    Behind,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FollowerQueue {
    /// Whether the follower keeps up.
    fn push(&self, frame: &Arc<Frame>) {
        let mut pending = lock(&self.pending);
        if pending.behind {
            return;
        }
        pending.bytes += frame.weight();
        if pending.frames.len() >= FOLLOWER_FRAMES || pending.bytes > FOLLOWER_BYTES {
            *pending = Pending { behind: true, ..Pending::default() };
        } else {
            pending.frames.push_back(Arc::clone(frame));
        }
    }

    /// Moves all waiting frames to `out`.
    pub(crate) fn take(&self, out: &mut Vec<Arc<Frame>>) -> Taken {
        let mut pending = lock(&self.pending);
        if pending.behind {
            return Taken::Behind;
        }
        if pending.frames.is_empty() {
            return Taken::Nothing;
        }
        out.extend(pending.frames.drain(..));
        pending.bytes = 0;
        Taken::Frames
    }

    /// Waits until there may be something to take.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

impl Feed {
    pub(crate) fn new(session: SessionId, head: Position) -> Self {
        let state = FeedState { head, open: Vec::new(), waiting: None, ended: None, followers: Vec::new() };
        Self { session, state: Mutex::new(state) }
    }

    /// The last published event.
    pub(crate) fn head(&self) -> Position {
        lock(&self.state).head
    }

    /// Lets a follower in, or in again: from here on every frame reaches its queue.
    pub(crate) fn join(&self, queue: &Arc<FollowerQueue>) -> Joined {
        let mut state = lock(&self.state);
        *lock(&queue.pending) = Pending::default();
        let known = state.followers.iter().any(|other| other.as_ptr() == Arc::as_ptr(queue));
        if !known {
            state.followers.push(Arc::downgrade(queue));
        }
        let mut unfinished: Vec<_> = state.open.iter().map(|open| self.snapshot(open)).collect();
        unfinished.extend(state.waiting.clone().map(|notice| Frame::new(FrameBody::Notice(notice))));
        Joined { head: state.head, unfinished }
    }

    /// Number of followers.
    pub fn followers(&self) -> usize {
        let mut state = lock(&self.state);
        state.followers.retain(|follower| follower.strong_count() > 0);
        state.followers.len()
    }

    fn snapshot(&self, open: &OpenItem) -> Arc<Frame> {
        Frame::new(FrameBody::Delta(Delta {
            session: self.session,
            turn: open.turn,
            item: open.item,
            kind: open.kind,
            offset: 0,
            text: open.text.clone(),
            tool: open.tool.clone(),
        }))
    }

    /// Tells followers of events that are on disk.
    pub(crate) fn publish(&self, records: &[Arc<Record>]) {
        let mut state = lock(&self.state);
        for record in records {
            state.head = record.position();
            if let Ok(envelope) = record.envelope() {
                state.settle(&envelope.event);
            }
            state.send(&Frame::new(FrameBody::Event(Arc::clone(record))));
        }
        state.wake();
    }

    /// Tells followers of pieces of unfinished items; adjacent pieces of one item travel as one frame.
    pub(crate) fn write(&self, turn: TurnId, pieces: &[LivePiece<'_>]) {
        let mut state = lock(&self.state);
        if state.ended == Some(turn) {
            return;
        }
        for piece in pieces {
            let delta = state.extend(self.session, turn, piece);
            state.send(&Frame::new(FrameBody::Delta(delta)));
        }
        state.wake();
    }

    /// Hears no more of a turn's task, and gives what it showed of a message nobody completed: the message's item,
    /// if its text was begun, and its words. Half a tool call is nothing to keep.
    pub(crate) fn cut_off(&self, turn: TurnId) -> (Option<ItemId>, Vec<Part>) {
        let mut state = lock(&self.state);
        state.ended = Some(turn);
        let shown = |open: &&OpenItem| open.turn == turn && !open.text.is_empty();
        let (mut item, mut parts) = (None, Vec::new());
        for open in state.open.iter().filter(shown) {
            let text = open.text.clone();
            match open.kind {
                DeltaKind::Text => {
                    item = Some(open.item);
                    parts.push(Part::Text { text });
                }
                DeltaKind::Reasoning => {
                    parts.push(Part::Reasoning { item: open.item, text, signature: None });
                }
                _ => {}
            }
        }
        (item, parts)
    }

    /// Tells followers of a passing state. `waiting` is also told to those who come later.
    pub(crate) fn notify(&self, notice: Notice) {
        let mut state = lock(&self.state);
        if let Notice::Waiting { turn, .. } = &notice {
            if state.ended == Some(*turn) {
                return;
            }
            state.waiting = Some(notice.clone());
        }
        state.send(&Frame::new(FrameBody::Notice(notice)));
        state.wake();
    }
}

/// A piece of an unfinished item.
pub(crate) struct LivePiece<'a> {
    pub(crate) item: ItemId,
    pub(crate) kind: DeltaKind,
    pub(crate) text: &'a str,
    /// The tool's name, where the piece begins a tool call.
    pub(crate) tool: Option<&'a str>,
}

impl FeedState {
    fn send(&mut self, frame: &Arc<Frame>) {
        self.followers.retain(|follower| match follower.upgrade() {
            Some(queue) => {
                queue.push(frame);
                true
            }
            None => false,
        });
    }

    fn wake(&self) {
        for queue in self.followers.iter().filter_map(Weak::upgrade) {
            queue.news.notify_one();
        }
    }

    fn extend(&mut self, session: SessionId, turn: TurnId, piece: &LivePiece<'_>) -> Delta {
        let found = self.open.iter().position(|open| open.item == piece.item && open.kind == piece.kind);
        let index = found.unwrap_or_else(|| {
            self.open.push(OpenItem {
                turn,
                item: piece.item,
                kind: piece.kind,
                tool: piece.tool.map(str::to_owned),
                text: String::new(),
                chars: 0,
            });
            self.open.len() - 1
        });
        let open = &mut self.open[index];
        let offset = open.chars;
        open.text.push_str(piece.text);
        open.chars += piece.text.chars().count() as u64;
        Delta {
            session,
            turn,
            item: piece.item,
            kind: piece.kind,
            offset,
            text: piece.text.to_owned(),
            tool: piece.tool.map(str::to_owned),
        }
    }

    /// An event says completely what the deltas of its items said in pieces.
    fn settle(&mut self, event: &Event) {
        match event {
            Event::MessageCompleted(message) => {
                let named = |item: ItemId| {
                    item == message.item
                        || message.parts.iter().any(|part| match part {
                            Part::Reasoning { item: i, .. } | Part::ToolCall { item: i, .. } => *i == item,
                            _ => false,
                        })
                };
                self.open.retain(|open| !named(open.item));
            }
            Event::ToolFinished(finished) => self.open.retain(|open| open.item != finished.item),
            _ => {}
        }
        if let Some(turn) = event.ends_turn() {
            self.ended = Some(turn);
        }
        // A turn that is taken up again writes its items anew.
        let resumed = match event {
            Event::TurnResumed(resumed) => Some(resumed.turn),
            _ => None,
        };
        if resumed.is_some() && self.ended == resumed {
            self.ended = None;
        }
        if let Some(turn) = event.ends_turn().or(resumed) {
            self.open.retain(|open| open.turn != turn);
            self.waiting = None;
        }
    }
}

/// Whether a position can be followed from in a log with this head.
pub(crate) fn serves(head: Position, after: Position) -> bool {
    after.epoch == head.epoch && after.seq <= head.seq
}
