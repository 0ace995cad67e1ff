//! `GET /api/events`: what happens in all of the caller's sessions, for subscribers that come and go.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::State, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use moongate_core::{Happening as News, Record, Scope};
use moongate_protocol::{Envelope, Event, InputId, KeyId, Seq, Timestamp};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Owner, Oxios, User, chat,
    fault::Reply,
    happening::{Happenings, Resync},
    ids::Uuid,
    ring::{News as RingNews, Place, Ring},
    stream::owner,
};
use crate::{
    caller::Authenticated,
    door::shared::Door,
    life::{Life, Sign},
};

/// How often a stream without news shows that it lives.
const PING: Duration = Duration::from_secs(30);
/// How long events are kept when nobody subscribes.
const KEPT: Duration = Duration::from_secs(600);
/// Keys whose events are kept.
const KEYS: usize = 256;
/// Events before a turn's first among which its input is looked for.
const BEFORE: u64 = 64;

/// Whose events: a key's rights decide what it sees.
type Whose = (Owner, Option<KeyId>);

/// The newest events of each key somebody subscribed with.
#[derive(Default)]
pub(super) struct Rings(Mutex<HashMap<Whose, Arc<Kept>>>);

/// One key's newest events.
pub(super) struct Kept {
    ring: Mutex<Ring>,
    /// Changes with every event.
    news: watch::Sender<u64>,
}

impl Kept {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller's events, gathered from now on if they were not before.
fn kept(door: &Door<Oxios>, caller: &Authenticated) -> Option<Arc<Kept>> {
    let whose = (owner(caller), caller.key());
    let mut rings = door.rings.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = rings.get(&whose) {
        return Some(Arc::clone(kept));
    }
    if rings.len() >= KEYS {
        return None;
    }
    let kept = Arc::new(Kept { ring: Mutex::default(), news: watch::Sender::new(0) });
    rings.insert(whose.clone(), Arc::clone(&kept));
    let gathering = gather(door.clone(), caller.clone(), Arc::clone(&kept));
    let door = door.clone();
    // Ends when nobody subscribed for a while, when the key ends, or with the server.
    door.app().tasks().clone().spawn(async move {
        gathering.await;
        door.rings.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&whose);
    });
    Some(kept)
}

/// Turns the caller's native events into the door's, as long as somebody may want them.
fn gather(door: Door<Oxios>, caller: Authenticated, kept: Arc<Kept>) -> impl Future<Output = ()> + Send {
    // Before anything else happens: what follows a subscription is in it.
    let mut follower = door.app().gateway().follow_all(&caller);
    async move {
        let (closing, ended) = (door.app().closing().clone(), caller.0.ended.clone());
        let mut happenings = Happenings::default();
        let mut last_wanted = Instant::now();
        loop {
            let news = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = ended.cancelled() => return,
                news = follower.next() => Some(news),
                () = sleep_until(Instant::now() + PING) => None,
            };
            if kept.news.receiver_count() > 0 {
                last_wanted = Instant::now();
            } else if last_wanted.elapsed() > KEPT {
                return;
            }
            match news {
                None => {}
                Some(News::Event(record)) => {
                    take(&door, &caller, (&mut happenings, &kept), &record).await;
                }
                Some(News::Missed(count)) => {
                    kept.ring().miss(count);
                    kept.news.send_modify(|count| *count += 1);
                }
                Some(News::Closed) => return,
            }
        }
    }
}

async fn take(
    door: &Door<Oxios>,
    caller: &Authenticated,
    (happenings, kept): (&mut Happenings, &Kept),
    record: &Record,
) {
    let Ok(envelope) = record.envelope() else { return };
    learn(door, caller, happenings, envelope).await;
    let ids = door.app().gateway().ids();
    let fresh = || Uuid(ids.make(InputId::new).bits());
    let id = match door.app().gateway().session(caller, envelope.session).await {
        Ok(session) => chat::wire_id(&session).await.ok(),
        Err(_) => None,
    };
    let id = id.unwrap_or_else(|| envelope.session.to_string());
    let events = happenings.take(envelope, &id, fresh);
    if events.is_empty() {
        return;
    }
    for event in &events {
        let seq = door.cursors.next();
        kept.ring().push(seq, encoded(Some(seq), None, event));
    }
    kept.news.send_modify(|count| *count += 1);
}

/// Finds out what began a turn whose input came before the first subscriber.
async fn learn(door: &Door<Oxios>, caller: &Authenticated, happenings: &mut Happenings, envelope: &Envelope) {
    let Event::TurnStarted(started) = &envelope.event else { return };
    if started.inputs.iter().any(|input| happenings.knows(*input)) {
        return;
    }
    let Ok(session) = door.app().gateway().session(caller, envelope.session).await else { return };
    let from = Seq(envelope.seq.0.saturating_sub(BEFORE));
    let Ok(records) = session.read(from, usize::try_from(BEFORE).unwrap_or(64)).await else { return };
    for before in records.iter().filter_map(|record| record.envelope().ok()) {
        match &before.event {
            Event::InputAccepted(input) if started.inputs.contains(&input.input) => happenings.hear(input),
            _ => {}
        }
    }
}

/// One event on the wire, on one line.
fn encoded<T: Serialize>(seq: Option<u64>, name: Option<&str>, event: &T) -> Bytes {
    let mut out = Vec::with_capacity(256);
    if let Some(seq) = seq {
        out.extend_from_slice(format!("id: {seq}\n").as_bytes());
    }
    if let Some(name) = name {
        out.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    if serde_json::to_writer(&mut out, event).is_err() {
        tracing::error!("an event could not be written as JSON");
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// One subscriber.
struct Subscriber {
    life: Life,
    kept: Arc<Kept>,
    news: watch::Receiver<u64>,
    place: Place,
    /// It came back to an event that is not kept any more.
    lost: bool,
    ping: Instant,
}

/// `GET /api/events`.
pub(super) async fn follow(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    headers: HeaderMap,
) -> Reply<Response> {
    caller.require(Scope::SessionsRead)?;
    let Some(kept) = kept(&door, &caller) else {
        let wait = Duration::from_secs(60);
        return Err(moongate_core::Refusal::later(
            moongate_protocol::ErrorCode::Unavailable,
            "too many keys subscribe",
            wait,
        )
        .into());
    };
    let news = kept.news.subscribe();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let found = last.and_then(|id| kept.ring().after(id.parse().ok()?));
    let place = found.unwrap_or_else(|| kept.ring().end());
    let lost = last.is_some() && found.is_none();
    let life = Life::of_sse(door.app(), caller);
    let ping = Instant::now() + PING;
    let subscriber = Subscriber { life, kept, news, place, lost, ping };
    let mut response = Response::new(Body::from_stream(stream::unfold(subscriber, Subscriber::chunk)));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    out.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Subscriber {
    async fn chunk(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if std::mem::take(&mut self.lost) {
            return Some((Ok(self.resync(0)), self));
        }
        loop {
            if self.life.is_over() {
                return None;
            }
            self.news.mark_unchanged();
            let read = self.kept.ring().read(&mut self.place);
            match read {
                RingNews::Events(events) => {
                    let mut piece = BytesMut::new();
                    events.iter().for_each(|event| piece.extend_from_slice(event));
                    return Some((Ok(piece.freeze()), self));
                }
                RingNews::Missed(count) => return Some((Ok(self.resync(count)), self)),
                RingNews::None => {}
            }
            let ping = self.ping;
            tokio::select! {
                biased;
                changed = self.news.changed() => changed.ok()?,
                sign = self.life.sign() => if sign == Sign::Over { return None },
                () = sleep_until(ping) => {
                    self.ping = Instant::now() + PING;
                    return Some((Ok(Bytes::from_static(b": ping\n\n")), self));
                }
            }
        }
    }

    fn resync(&self, lagged: u64) -> Bytes {
        let ids = self.life.app().gateway().ids();
        let timestamp: Timestamp = ids.now();
        let id = Uuid(ids.make(InputId::new).bits());
        encoded(None, Some("resync"), &Resync { id, timestamp, lagged })
    }
}
