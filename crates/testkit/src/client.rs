//! A following client: keeps what a real one keeps, and panics where a promise of following is broken.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moongate_core::{Follower, Frame, FrameBody};
use moongate_protocol::{
    Delta, DeltaKind, Envelope, Epoch, Event, ItemId, MessageCompleted, Notice, Part, Position, Seq,
};

/// How long a client waits for a frame before the test has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a client knows of a session; survives its connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Every event, in order, from the first one it was handed.
    pub events: Vec<Envelope>,
    /// The text of every item, as deltas and events built it up.
    pub texts: HashMap<(ItemId, DeltaKind), String>,
    /// The last passing state of each kind.
    pub notices: Vec<Notice>,
    /// How often it was told to forget everything.
    pub resets: usize,
    epoch: Option<Epoch>,
}

/// A following client.
pub struct Client {
    follower: Follower,
    /// What it knows.
    pub view: View,
    ready: std::collections::VecDeque<Arc<Frame>>,
    /// Frames taken in so far.
    pub frames: usize,
}

impl Client {
    /// A client that knows nothing yet.
    pub fn new(follower: Follower) -> Self {
        Self::resumed(follower, View::default())
    }

    /// A client that comes back with what it knew.
    pub fn resumed(follower: Follower, view: View) -> Self {
        Self { follower, view, ready: std::collections::VecDeque::new(), frames: 0 }
    }

    /// Takes in the next frame and returns it.
    ///
    /// # Panics
    /// When none comes in ten minutes of tokio's clock, the log cannot be read, or a promise is broken.
    pub async fn next(&mut self) -> Arc<Frame> {
        while self.ready.is_empty() {
            let mut frames = Vec::new();
            let more = tokio::time::timeout(PATIENCE, self.follower.next(&mut frames)).await;
            let more = more.unwrap_or_else(|_| panic!("no frame came; the client knows {:#?}", self.view));
            more.unwrap_or_else(|error| panic!("{error}"));
            assert!(!frames.is_empty(), "a follower that returns has frames");
            self.ready.extend(frames);
        }
        let frame = self.ready.pop_front().unwrap_or_else(|| unreachable!("checked above"));
        self.frames += 1;
        self.view.take(&frame);
        frame
    }

    /// Takes frames in until an event is one that is looked for, and returns it.
    pub async fn until(&mut self, mut found: impl FnMut(&Event) -> bool) -> Envelope {
        loop {
            if let FrameBody::Event(record) = &self.next().await.body {
                let envelope = record.envelope().unwrap_or_else(|error| panic!("{error}"));
                if found(&envelope.event) {
                    return envelope.clone();
                }
            }
        }
    }

    /// Takes frames in until a turn ends, and returns its last event.
    pub async fn until_turn_ends(&mut self) -> Envelope {
        self.until(|event| event.ends_turn().is_some()).await
    }

    /// Takes frames in until so many turns have ended.
    pub async fn until_turns_end(&mut self, count: usize) {
        while self.view.ended_turns() < count {
            self.next().await;
        }
    }

    /// Takes frames in until text of an item has been shown that holds `text`.
    pub async fn until_shown(&mut self, text: &str) {
        while !self.view.texts.values().any(|shown| shown.contains(text)) {
            self.next().await;
        }
    }
}

impl View {
    /// Where the client stands.
    pub fn position(&self) -> Option<Position> {
        self.events.last().map(Envelope::position)
    }

    /// Number of turns that ended.
    pub fn ended_turns(&self) -> usize {
        self.events.iter().filter(|envelope| envelope.event.ends_turn().is_some()).count()
    }

    /// The kinds of all events.
    pub fn kinds(&self) -> Vec<&str> {
        self.events.iter().map(|envelope| envelope.event.kind()).collect()
    }

    /// The texts of the assistant's messages, in order.
    pub fn answers(&self) -> Vec<String> {
        let said = self.events.iter().filter_map(|envelope| match &envelope.event {
            Event::MessageCompleted(message) if message.input.is_none() => {
                Some(Part::join_text(&message.parts))
            }
            _ => None,
        });
        said.collect()
    }

    /// The complete texts: what is left of unfinished items is not among them.
    pub fn finished_texts(&self) -> HashMap<(ItemId, DeltaKind), String> {
        let mut finished = HashMap::new();
        for envelope in &self.events {
            if let Event::MessageCompleted(message) = &envelope.event {
                finished.extend(texts_of(message));
            }
        }
        finished
    }

    fn take(&mut self, frame: &Frame) {
        match &frame.body {
            FrameBody::Event(record) => {
                let envelope = record.envelope().unwrap_or_else(|error| panic!("{error}"));
                self.take_event(envelope);
            }
            FrameBody::Delta(delta) => self.take_delta(delta),
            FrameBody::Notice(notice) => {
                self.notices.retain(|n| std::mem::discriminant(n) != std::mem::discriminant(notice));
                self.notices.push(notice.clone());
            }
            FrameBody::Reset(position) => {
                let resets = self.resets + 1;
                assert_eq!(position.seq, Seq::ZERO, "this client starts from the beginning after a reset");
                *self = Self { resets, epoch: Some(position.epoch), ..Self::default() };
            }
        }
    }

    fn take_event(&mut self, envelope: &Envelope) {
        let epoch = *self.epoch.get_or_insert(envelope.epoch);
        assert_eq!(envelope.epoch, epoch, "the epoch changed without a reset");
        if let Some(last) = self.events.last() {
            assert_eq!(envelope.seq, last.seq.next(), "events come once, in order, without a gap");
            assert!(envelope.at >= last.at, "time does not run backwards in a log");
        }
        if let Event::MessageCompleted(message) = &envelope.event {
            for (item, text) in texts_of(message) {
                if let Some(shown) = self.texts.get(&item) {
                    assert!(text.starts_with(shown.as_str()), "{shown:?} was shown of {text:?}");
                }
                self.texts.insert(item, text);
            }
        }
        self.events.push(envelope.clone());
    }

    /// `text = text[..offset] + delta.text`, and nothing else.
    fn take_delta(&mut self, delta: &Delta) {
        let text = self.texts.entry((delta.item, delta.kind)).or_default();
        let offset = usize::try_from(delta.offset).unwrap_or(usize::MAX);
        let chars = text.chars().count();
        assert!(offset <= chars, "a delta at {offset} leaves a hole after {chars} characters: {delta:?}");
        if offset < chars {
            let kept = text.char_indices().nth(offset).map_or(text.len(), |(at, _)| at);
            text.truncate(kept);
        }
        text.push_str(&delta.text);
    }
}

/// What the deltas of a message's items add up to; a call's arguments are written in their own way.
fn texts_of(message: &MessageCompleted) -> Vec<((ItemId, DeltaKind), String)> {
    let mut texts = vec![((message.item, DeltaKind::Text), Part::join_text(&message.parts))];
    for part in &message.parts {
        if let Part::Reasoning { item, text, .. } = part {
            texts.push(((*item, DeltaKind::Reasoning), text.clone()));
        }
    }
    texts
}
