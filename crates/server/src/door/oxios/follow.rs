//! One session on its way to one socket: which turns are the socket's own, and their frames. Pure.

use std::collections::BTreeMap;

use moongate_core::{Frame, FrameBody};
use moongate_protocol::{Delta, Envelope, Event, InputAccepted, InputId, Position, Seq, SessionId};

use super::{
    cursors::Cursor,
    frames::{Body, Client},
    ids::{Uuid, message_id},
    show::{Progress, Show, withdrawn},
};

/// The label of an input that says which client it came from.
pub(super) const CLIENT_LABEL: &str = "oxios.client";

/// What is known of an input that has not ended.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    message: Option<Uuid>,
    client: Client,
    own: bool,
}

/// One frame to send.
#[derive(Debug)]
pub(super) struct Emit {
    pub(super) body: Body,
    pub(super) message: Uuid,
    pub(super) client: Client,
    pub(super) cursor: Cursor,
}

/// Which turns are shown besides the socket's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// None.
    Hidden,
    /// Those that begin after this event.
    After(Seq),
}

/// The fold of a session to one socket's frames.
#[derive(Debug)]
pub(super) struct Following {
    session: SessionId,
    at: Position,
    inputs: BTreeMap<InputId, Known>,
    /// Inputs accepted up to here are the socket's own: it came back to them.
    own_to: Seq,
    others: Others,
    turn: Option<(Show, bool)>,
    /// Frames of what comes next that the client has already.
    skip: usize,
    reasoning: bool,
}

impl Following {
    /// Follows from a position on.
    pub(super) fn from(session: SessionId, at: Position, reasoning: bool) -> Self {
        Self {
            session,
            at,
            inputs: BTreeMap::new(),
            own_to: Seq::ZERO,
            others: Others::Hidden,
            turn: None,
            skip: 0,
            reasoning,
        }
    }

    /// An input of the socket's own.
    pub(super) fn own(&mut self, input: InputId, message: Uuid, client: Client) {
        self.inputs.insert(input, Known { message: Some(message), client, own: true });
    }

    /// Everything up to here is the socket's own.
    pub(super) fn own_to(&mut self, seq: Seq) {
        self.own_to = seq;
    }

    /// Which other turns are shown.
    pub(super) fn show_others(&mut self, others: Others) {
        self.others = others;
    }

    /// Whether nothing of the session concerns the socket any more.
    pub(super) fn is_over(&self) -> bool {
        let running = self.turn.as_ref().is_some_and(|(_, own)| *own);
        !running && self.others == Others::Hidden && !self.inputs.values().any(|known| known.own)
    }

    /// Takes in what the client has seen: an event, without frames.
    pub(super) fn recall(&mut self, envelope: &Envelope) {
        self.event(envelope);
    }

    /// Stands at a place whatever was recalled.
    pub(super) fn stand_at(&mut self, at: Position) {
        self.at = at;
    }

    /// Which session.
    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// The turn that runs is not shown.
    pub(super) fn disown_running(&mut self) {
        if let Some((_, own)) = &mut self.turn {
            *own = false;
        }
    }

    /// The own inputs of another fold are this one's too.
    pub(super) fn keep_own(&mut self, other: &Self) {
        let own = other.inputs.iter().filter(|(_, known)| known.own);
        self.inputs.extend(own.map(|(input, known)| (*input, *known)));
        if let Some((show, true)) = &other.turn {
            let known = Known { message: Some(show.message), client: show.client, own: true };
            self.inputs.extend(show.turn.inputs.iter().map(|input| (*input, known)));
        }
        self.others = other.others;
    }

    /// The client has seen this much of what comes next.
    pub(super) fn seen(&mut self, progress: Progress, skip: usize) {
        if let Some((show, _)) = &mut self.turn {
            show.progress = progress;
        }
        self.skip = skip;
    }

    /// The turn that runs.
    pub(super) fn turn(&self) -> Option<&Show> {
        self.turn.as_ref().map(|(show, _)| show)
    }

    /// The message ids of inputs that wait, with the inputs.
    pub(super) fn input_of(&self, message: Uuid) -> Option<InputId> {
        self.inputs.iter().find(|(_, known)| known.message == Some(message)).map(|(input, _)| *input)
    }

    /// The frames of a follower's frame. A reset gives none: see [`Following::is_reset`].
    pub(super) fn take(&mut self, frame: &Frame) -> Vec<Emit> {
        match &frame.body {
            FrameBody::Event(record) => match record.envelope() {
                Ok(envelope) => self.event(envelope),
                Err(error) => {
                    tracing::error!(session.id = %self.session, %error, "an event cannot be shown");
                    Vec::new()
                }
            },
            FrameBody::Delta(delta) => self.delta(delta),
            FrameBody::Notice(_) | FrameBody::Reset(_) => Vec::new(),
        }
    }

    fn delta(&mut self, delta: &Delta) -> Vec<Emit> {
        let Some((show, own)) = &mut self.turn else { return Vec::new() };
        if show.turn.id != delta.turn {
            return Vec::new();
        }
        let before = show.progress.clone();
        let bodies = show.delta(delta);
        let (after, message, client) = (show.progress.clone(), show.message, show.client);
        if bodies.is_empty() || !*own {
            return Vec::new();
        }
        let (session, at, count) = (self.session, self.at, bodies.len());
        let emit = |(index, body): (usize, Body)| {
            // Between two frames of one piece a client stands before the piece, and has its first frames.
            let (progress, skip) =
                if index + 1 == count { (after.clone(), 0) } else { (before.clone(), index + 1) };
            Emit { body, message, client, cursor: Cursor { session, after: at, skip, progress } }
        };
        let skip = std::mem::take(&mut self.skip);
        bodies.into_iter().enumerate().skip(skip).map(emit).collect()
    }

    fn event(&mut self, envelope: &Envelope) -> Vec<Emit> {
        let before = self.turn.as_ref().map(|(show, _)| show.progress.clone()).unwrap_or_default();
        let shown = self.frames(envelope);
        let skip = if shown.is_empty() { 0 } else { std::mem::take(&mut self.skip) };
        let (session, after) = (self.session, self.at);
        self.at = envelope.position();
        let emit = |(index, (body, message, client)): (usize, (Body, Uuid, Client))| Emit {
            body,
            message,
            client,
            cursor: Cursor { session, after, skip: index + 1, progress: before.clone() },
        };
        shown.into_iter().enumerate().skip(skip).map(emit).collect()
    }

    fn frames(&mut self, envelope: &Envelope) -> Vec<(Body, Uuid, Client)> {
        match &envelope.event {
            Event::InputAccepted(input) => {
                self.accepted(input, envelope.seq);
                Vec::new()
            }
            Event::InputWithdrawn(gone) => self.withdrawn(&[gone.input]),
            Event::SessionDeleted(_) => {
                let waiting: Vec<_> = self.inputs.keys().copied().collect();
                self.withdrawn(&waiting)
            }
            Event::TurnStarted(started) => {
                let known: Vec<_> =
                    started.inputs.iter().filter_map(|input| self.inputs.remove(input)).collect();
                let mirrored = matches!(self.others, Others::After(from) if envelope.seq > from);
                let own = mirrored || known.iter().any(|known| known.own);
                let first = known.first().copied().unwrap_or_default();
                let bits = started.inputs.first().map_or(started.turn.bits(), |input| input.bits());
                let message = first.message.unwrap_or(Uuid(bits));
                let (show, bodies) =
                    Show::begin((started, envelope), (message, first.client), self.reasoning);
                self.turn = Some((show, own));
                self.shown(bodies)
            }
            event => {
                let Some((show, _)) = &mut self.turn else { return Vec::new() };
                if event.turn() != Some(show.turn.id) {
                    return Vec::new();
                }
                let bodies = show.event(envelope);
                let shown = self.shown(bodies);
                if event.ends_turn().is_some() {
                    self.turn = None;
                }
                shown
            }
        }
    }

    /// The running turn's frames, where they are for this socket.
    fn shown(&self, bodies: Vec<Body>) -> Vec<(Body, Uuid, Client)> {
        match &self.turn {
            Some((show, true)) => bodies.into_iter().map(|body| (body, show.message, show.client)).collect(),
            _ => Vec::new(),
        }
    }

    fn accepted(&mut self, input: &InputAccepted, seq: Seq) {
        let label = input.metadata.get(CLIENT_LABEL);
        let key = input.idempotency_key.as_ref().map(|key| key.as_str());
        let known = self.inputs.entry(input.input).or_default();
        known.message.get_or_insert(message_id(input.input, key));
        known.client = label.and_then(|label| Client::parse(label)).unwrap_or(known.client);
        known.own |= seq <= self.own_to;
    }

    fn withdrawn(&mut self, inputs: &[InputId]) -> Vec<(Body, Uuid, Client)> {
        let mut shown = Vec::new();
        for input in inputs {
            if let Some(Known { message, client, own: true }) = self.inputs.remove(input) {
                let message = message.unwrap_or(Uuid(input.bits()));
                shown.extend(withdrawn(client).into_iter().map(|body| (body, message, client)));
            }
        }
        shown
    }
}
