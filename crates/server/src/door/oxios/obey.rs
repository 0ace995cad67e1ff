//! What a socket does when its client asks for something.

use moongate_core::SessionHandle;
use moongate_protocol::{Cancel as Stop, ErrorCode, Event, Position, Seq, SessionId};

use super::{
    chat::{self, Chat, Put},
    client::{Ask, Cancel, Resume},
    cursors::Cursor,
    fault::Fault,
    follow::{Emit, Following, Others},
    frames::{Client, Word},
    ids::Uuid,
    out::Out,
    past,
    show::{Progress, Show},
    socket::Line,
};
use crate::reply::{Answer, Failure};

/// The frames an answer consists of.
type Said = Vec<Out>;

impl Line {
    pub(super) async fn obey(&mut self, ask: Ask) -> Answer<Said> {
        match ask {
            Ask::Message(chat) => self.message(*chat).await,
            Ask::Cancel(cancel) => self.cancel(cancel).await,
            Ask::Resume(resume) => self.resume(resume).await,
            Ask::Ping => Ok(Vec::new()),
        }
    }

    async fn message(&mut self, chat: Chat) -> Answer<Said> {
        let caller = self.socket.caller().clone();
        self.door.rates.take(caller.key()).map_err(|wait| Fault::too_often(wait).0)?;
        let is_new = chat.session.as_deref().unwrap_or_default().is_empty();
        let together = if is_new { self.opened_just_now() } else { None };
        let client = chat.client;
        let put = chat.put(&self.door, &caller, together.as_ref()).await?;
        if is_new && together.is_none() {
            self.opens(&put.session);
        }
        let session = put.session.id();
        self.enter(&put.session, &put.session_id, put.accepted.position).await?;
        if put.repeated {
            return self.again(&put, client).await;
        }
        if !self.watches.contains_key(&session) {
            let fold = Following::from(session, put.accepted.position, self.door.settings.send_reasoning);
            let follower = put.session.follow(Some(put.accepted.position));
            self.watch((put.session_id.as_str().into(), false), fold, follower);
        }
        if let Some(watch) = self.watches.get_mut(&session) {
            watch.fold.own(put.accepted.input, put.message, client);
        }
        Ok(Vec::new())
    }

    /// Makes a session the one the client is in, from a place in its log on.
    async fn enter(&mut self, session: &SessionHandle, id: &str, at: Position) -> Answer<()> {
        let is_there = self.moves_to(session.id());
        if !self.options.mirrors() || is_there {
            return Ok(());
        }
        if !self.watches.contains_key(&session.id()) {
            let fold = past::fold(session, at, Seq::ZERO, self.door.settings.send_reasoning).await?;
            self.watch((id.into(), false), fold, session.follow(Some(at)));
        }
        if let Some(watch) = self.watches.get_mut(&session.id()) {
            watch.fold.show_others(Others::After(at.seq));
        }
        Ok(())
    }

    /// The client is in this session from now on, and mirrors no other one; whether it was there already.
    fn moves_to(&mut self, session: SessionId) -> bool {
        let before = self.goes_to(session);
        if let Some(before) = before.filter(|before| *before != session) {
            if let Some(watch) = self.watches.get_mut(&before) {
                watch.fold.show_others(Others::Hidden);
            }
            self.unwatch(before);
        }
        before == Some(session)
    }

    /// Shows the turns of others too that begin from here on, where the client wants them.
    fn mirror(&self, fold: &mut Following, from: Seq) {
        if self.options.mirrors() {
            fold.show_others(Others::After(from));
        }
    }

    /// A message that was sent before: its turn from the start, or its reply and its end.
    async fn again(&mut self, put: &Put, client: Client) -> Answer<Said> {
        let (session, reasoning) = (put.session.id(), self.door.settings.send_reasoning);
        let from = put.accepted.position;
        if let Some((show, after)) = ended_turn(put, client).await? {
            let (message, progress) = (put.message, Progress::default());
            let cursor = Cursor { session, after, skip: 0, progress };
            let emit = |body| Emit { body, message, client, cursor: cursor.clone() };
            let id = put.session_id.as_str().into();
            return Ok(show.in_short().into_iter().map(emit).map(|emit| self.number(&id, emit)).collect());
        }
        let mut fold = Following::from(session, from, reasoning);
        if let Some(before) = self.watches.get(&session) {
            fold.keep_own(&before.fold);
        }
        fold.own(put.accepted.input, put.message, client);
        self.watch((put.session_id.as_str().into(), false), fold, put.session.follow(Some(from)));
        Ok(Vec::new())
    }

    async fn cancel(&mut self, cancel: Cancel) -> Answer<Said> {
        // A target nobody knows is no fault.
        if let Some(session) = self.target(cancel.session_id.as_deref()).await {
            let request = cancel.request_id.as_deref().and_then(Uuid::parse);
            stop(&session, request, cancel.all == Some(true)).await?;
        }
        Ok(Vec::new())
    }

    async fn target(&mut self, id: Option<&str>) -> Option<SessionHandle> {
        let (gateway, caller) = (self.door.app().gateway(), self.socket.caller());
        match id.filter(|id| !id.is_empty()) {
            Some(id) => chat::find(gateway, caller, id).await.ok(),
            None => gateway.session(caller, self.current()?).await.ok(),
        }
    }

    async fn resume(&mut self, resume: Resume) -> Answer<Said> {
        let now = self.door.app().gateway().ids().now();
        let named = match resume.session_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => Some(chat::find(self.door.app().gateway(), self.socket.caller(), id).await?),
            None => None,
        };
        let cursor = self.door.cursors.find(&self.owner, resume.last_seq, now);
        let cursor = cursor.filter(|cursor| named.as_ref().is_none_or(|named| named.id() == cursor.session));
        let resync = resume.resync == Some(true);
        if let Some(cursor) = cursor {
            match self.door.app().gateway().session(self.socket.caller(), cursor.session).await {
                Ok(session) => {
                    self.go_on(&session, cursor, resync).await?;
                    return Ok(Vec::new());
                }
                // Deleted meanwhile: as a place nobody knows.
                Err(gone) if gone.code == ErrorCode::NotFound => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let Some(session) = named else {
            let id = resume.session_id.unwrap_or_default();
            return Ok(if resync { self.resynced(&id) } else { Vec::new() });
        };
        if resume.last_seq == 0
            && let Some(after) = past::before_running_turn(&session).await?
        {
            let progress = Progress::default();
            let cursor = Cursor { session: session.id(), after, skip: 0, progress };
            self.go_on(&session, cursor, resync).await?;
            return Ok(Vec::new());
        }
        let id = self.follow_the_next_turn(&session).await?;
        Ok(if resync && resume.last_seq != 0 { self.resynced(&id) } else { Vec::new() })
    }

    /// Goes on from a place the client named.
    async fn go_on(&mut self, session: &SessionHandle, cursor: Cursor, resync: bool) -> Answer<()> {
        let (reasoning, own_to) = (self.door.settings.send_reasoning, session.head().seq);
        let mut fold = past::fold(session, cursor.after, own_to, reasoning).await?;
        fold.seen(cursor.progress, cursor.skip);
        self.mirror(&mut fold, own_to);
        let id = chat::wire_id(session).await?;
        self.moves_to(session.id());
        self.watch((id.into(), resync), fold, session.follow(Some(cursor.after)));
        Ok(())
    }

    /// Shows the inputs that wait and nothing of what runs; says the session's id.
    async fn follow_the_next_turn(&mut self, session: &SessionHandle) -> Answer<String> {
        let (reasoning, head) = (self.door.settings.send_reasoning, session.head());
        let mut fold = past::fold(session, head, head.seq, reasoning).await?;
        fold.disown_running();
        self.mirror(&mut fold, head.seq);
        let id = chat::wire_id(session).await?;
        self.moves_to(session.id());
        self.watch((id.as_str().into(), false), fold, session.follow(Some(head)));
        self.unwatch(session.id());
        Ok(id)
    }

    /// The place a follower was to go on from is not there any more.
    pub(super) async fn reset(&mut self, session: SessionId) -> Answer<Said> {
        let wanted = self.watches.get(&session).is_some_and(|watch| watch.resync);
        let session = self.door.app().gateway().session(self.socket.caller(), session).await?;
        let id = self.follow_the_next_turn(&session).await?;
        Ok(if wanted { self.resynced(&id) } else { Vec::new() })
    }

    fn resynced(&self, session_id: &str) -> Said {
        vec![Word::Resync { seq: self.door.cursors.next(), session_id }.into()]
    }
}

/// The turn of a message that was sent before, if it ended, and where.
async fn ended_turn(put: &Put, client: Client) -> Answer<Option<(Show, Position)>> {
    let mut show: Option<Show> = None;
    let mut after = put.accepted.position.seq;
    let head = put.session.head().seq;
    while after < head {
        let records = put.session.read(after, 256).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            match (&envelope.event, &mut show) {
                (Event::TurnStarted(started), None) if started.inputs.contains(&put.accepted.input) => {
                    show = Some(Show::begin((started, envelope), (put.message, client), false).0);
                }
                (event, Some(running)) if event.turn() == Some(running.turn.id) => {
                    running.event(envelope);
                }
                _ => {}
            }
            if show.as_ref().is_some_and(|show| show.turn.end.is_some()) {
                return Ok(show.map(|show| (show, envelope.position())));
            }
        }
    }
    Ok(None)
}

/// Stops the named message's turn or takes the message back; without one, stops what runs.
pub(super) async fn stop(session: &SessionHandle, request: Option<Uuid>, all: bool) -> Answer<()> {
    let Some(request) = request else {
        session.cancel(Stop { turn: None, clear_queue: all }).await?;
        return Ok(());
    };
    let fold = past::fold(session, session.head(), Seq::ZERO, false).await?;
    let running = fold.turn().filter(|show| show.message == request).map(|show| show.turn.id);
    let done = match (running, fold.input_of(request)) {
        (Some(turn), _) => session.cancel(Stop { turn: Some(turn), clear_queue: all }).await.map(|_| ()),
        (None, Some(input)) => session.withdraw(input).await,
        (None, None) => Ok(()),
    };
    match done {
        // It ended or began meanwhile.
        Err(late) if matches!(late.code, ErrorCode::NotFound | ErrorCode::Conflict) => Ok(()),
        done => done.map_err(Failure::from),
    }
}
