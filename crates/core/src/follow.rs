//! Following a session: history from the store, then live, as one stream with no gap and no repeat.

use std::{collections::VecDeque, sync::Arc};

use moongate_protocol::{Position, Seq};

use crate::{
    StoreError,
    feed::{FollowerQueue, Frame, FrameBody, Taken, serves},
    limits::READ_BATCH,
    session::Slot,
};

/// A place in a session's stream. Dropping it ends the following and nothing else.
pub struct Follower {
    slot: Arc<Slot>,
    queue: Arc<FollowerQueue>,
    /// The last event handed on.
    seen: Seq,
    /// Events up to here come from the store; then the live queue goes on.
    replay_to: Seq,
    /// What the live side begins with once the replay is through.
    unfinished: Vec<Arc<Frame>>,
    reset: Option<Position>,
}

impl Follower {
    /// Follows after `after`; from the start when absent.
    pub(crate) fn after(slot: Arc<Slot>, after: Option<Position>) -> Self {
        let queue = Arc::new(FollowerQueue::default());
        // Let in first, then read: what is published in between is in the queue and, by its seq, not repeated.
        let joined = slot.feed().join(&queue);
        let (seen, reset) = match after {
            None => (Seq::ZERO, None),
            Some(after) if serves(joined.head, after) => (after.seq, None),
            Some(_) => (Seq::ZERO, Some(Position { epoch: joined.head.epoch, seq: Seq::ZERO })),
        };
        let (replay_to, unfinished) = (joined.head.seq, joined.unfinished);
        Self { slot, queue, seen, replay_to, unfinished, reset }
    }

    /// Follows what comes from now on.
    pub(crate) fn live(slot: Arc<Slot>) -> Self {
        let queue = Arc::new(FollowerQueue::default());
        let joined = slot.feed().join(&queue);
        let (seen, unfinished) = (joined.head.seq, joined.unfinished);
        Self { slot, queue, seen, replay_to: seen, unfinished, reset: None }
    }

    /// The session's head as far as it is published.
    pub fn head(&self) -> Position {
        self.slot.feed().head()
    }

    /// Waits for the next frames and appends them, at least one, in order. Cancel-safe.
    ///
    /// # Errors
    /// When the log cannot be read; the follower may be asked again.
    pub async fn next(&mut self, frames: &mut Vec<Arc<Frame>>) -> Result<(), StoreError> {
        loop {
            if self.ready(frames).await? {
                return Ok(());
            }
            self.queue.news().await;
        }
    }

    /// Appends the frames there are without waiting for news, and says whether there were any.
    ///
    /// # Errors
    /// When the log cannot be read; the follower may be asked again.
    pub async fn ready(&mut self, frames: &mut Vec<Arc<Frame>>) -> Result<bool, StoreError> {
        let before = frames.len();
        if let Some(position) = self.reset.take() {
            frames.push(Frame::new(FrameBody::Reset(position)));
        }
        if self.seen < self.replay_to {
            self.replay(frames).await?;
            return Ok(frames.len() > before);
        }
        frames.append(&mut self.unfinished);
        let live = frames.len();
        if matches!(self.queue.take(frames), Taken::Behind) {
            let joined = self.slot.feed().join(&self.queue);
            (self.replay_to, self.unfinished) = (joined.head.seq, joined.unfinished);
            Box::pin(self.ready(frames)).await?;
        } else {
            self.drop_repeats(frames, live);
        }
        Ok(frames.len() > before)
    }

    async fn replay(&mut self, frames: &mut Vec<Arc<Frame>>) -> Result<(), StoreError> {
        let records = self.slot.store().read(self.slot.id(), self.seen, READ_BATCH).await?;
        if records.is_empty() {
            return Err(StoreError::Damaged(format!("{} ends before its head", self.slot.id())));
        }
        // Not a step further: what is newer comes live, after the unfinished items it completes.
        for record in records.into_iter().filter(|record| record.position().seq <= self.replay_to) {
            self.seen = record.position().seq;
            frames.push(Frame::new(FrameBody::Event(record)));
        }
        Ok(())
    }

    fn drop_repeats(&mut self, frames: &mut Vec<Arc<Frame>>, from: usize) {
        let fresh: VecDeque<_> = frames.drain(from..).collect();
        for frame in fresh {
            if let FrameBody::Event(record) = &frame.body {
                let seq = record.position().seq;
                if seq <= self.seen {
                    continue;
                }
                debug_assert_eq!(seq, self.seen.next(), "published events have no gap");
                self.seen = seq;
            }
            frames.push(frame);
        }
    }
}
