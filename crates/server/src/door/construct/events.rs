//! The event stream of all the caller's sessions, and what happened before.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use moongate_core::{ActivityFollower, Happening, Record, Scope, limits::READ_BATCH};
use moongate_protocol::{Seq, TurnId};
use serde::Serialize;
use tokio::{sync::mpsc, time::sleep};

use super::{
    Construct,
    feed::{Cursor, Feed, Named, News},
    handshake::form,
    names::Names,
    past,
    reply::{Reply, Trouble, ok},
    sessions::{limit, require},
};
use crate::{
    caller::Authenticated,
    door::shared::Door,
    life::{Life, Sign},
};

/// Events that wait for one reader; past it they are counted as missed.
const QUEUE: usize = 256;
/// Most events of one page, and as many as when nobody says how many.
const PAGE: usize = 500;
/// How often a stream without news shows that it lives.
const COMMENT: Duration = Duration::from_secs(15);
/// Events a client that comes back is handed; past it, it is told to look itself.
const RESUMED: usize = 10_000;
/// Where a stream goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Sent = (Option<Cursor>, News);

#[derive(Serialize)]
struct History {
    events: Vec<News>,
}

pub(super) async fn history(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    RawQuery(query): RawQuery,
) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let query = query.unwrap_or_default();
    let limit = limit(&query, PAGE)?.unwrap_or(PAGE);
    let after = form(&query).find(|(name, _)| name == "after").map(|(_, value)| value.parse::<Cursor>());
    let after = after.transpose().map_err(|()| Trouble::invalid("after is a cursor of this route"))?;
    let events = match after {
        Some(after) => past::after(&door, &caller, after, limit).await?,
        None => past::newest(&door, &caller, limit).await?,
    };
    let marked = |(cursor, news): (Cursor, News)| News { cursor: Some(cursor.to_string()), ..news };
    ok(&History { events: events.into_iter().map(marked).collect() })
}

pub(super) async fn follow(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    headers: HeaderMap,
) -> Reply<Response> {
    require(&caller, Scope::SessionsRead)?;
    // Let in first, then read: nothing falls between.
    let follower = door.app().gateway().follow_all(&caller);
    let resume = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default().parse::<Cursor>());
    let mut first: Vec<Sent> = Vec::new();
    let mut told = None;
    match resume {
        None => {}
        Some(Err(())) => first.push((None, News::lagged(None, door.now()))),
        Some(Ok(after)) => {
            let past = past::after(&door, &caller, after, RESUMED + 1).await?;
            if past.len() > RESUMED {
                // Too much to be handed over: the client is told to look itself.
                first.push((None, News::lagged(None, door.now())));
            }
            told = past.last_key_value().map(|(cursor, _)| *cursor).or(Some(after));
            first.extend(past.into_iter().map(|(cursor, news)| (Some(cursor), news)));
        }
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let pump = Pump {
        door: door.clone(),
        caller: caller.clone(),
        follower,
        names: Names::default(),
        feed: Feed::default(),
        told,
        sender,
    };
    let kill = door.app().kill().clone();
    door.app().tasks().spawn(async move {
        tokio::select! {
            () = pump.run() => {}
            () = kill.cancelled() => {}
        }
    });
    let life = Life::of_sse(door.app(), caller);
    let outlet = Outlet { life, receiver, first: first.into(), begun: false };
    let body = Body::from_stream(stream::unfold(outlet, Outlet::chunk));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    out.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Keeps up with the engine whatever the reader does, and counts what the reader cannot take.
struct Pump {
    door: Door<Construct>,
    caller: Authenticated,
    follower: ActivityFollower,
    names: Names,
    feed: Feed,
    /// Up to here the stream's first part went.
    told: Option<Cursor>,
    sender: mpsc::Sender<Sent>,
}

impl Pump {
    async fn run(mut self) {
        let mut missed = 0;
        let sender = self.sender.clone();
        loop {
            tokio::select! {
                () = sender.closed() => return,
                permit = sender.reserve(), if missed > 0 => {
                    let Ok(permit) = permit else { return };
                    permit.send((None, News::lagged(Some(missed), self.door.now())));
                    missed = 0;
                }
                happening = self.follower.next() => match happening {
                    Happening::Event(record) => {
                        for sent in self.translate(&record).await {
                            // In order: nothing overtakes the word that something is missing.
                            if missed > 0 || sender.try_send(sent).is_err() {
                                missed += 1;
                            }
                        }
                    }
                    Happening::Missed(count) => missed += count,
                    Happening::Closed => return,
                },
            }
        }
    }

    async fn translate(&mut self, record: &Arc<Record>) -> Vec<Sent> {
        let Ok(envelope) = record.envelope() else { return Vec::new() };
        let Self { door, caller, names, feed, told, .. } = self;
        let Some(named) = names.of(door, caller, envelope.session).await else { return Vec::new() };
        if let Some(turn) = feed.lacks(record, &named) {
            catch_up(door, caller, feed, (turn, envelope.seq), &named).await;
        }
        let news = feed.take(record, &named).into_iter();
        let fresh = news.filter(|(cursor, _)| told.is_none_or(|told| *cursor > told));
        fresh.map(|(cursor, news)| (Some(cursor), news)).collect()
    }
}

/// Reads a turn whose beginning was not seen, up to an event of it.
async fn catch_up(
    door: &Door<Construct>,
    caller: &Authenticated,
    feed: &mut Feed,
    (turn, before): (TurnId, Seq),
    named: &Named<'_>,
) {
    let store = door.app().gateway().store();
    let Ok(Some(row)) = store.turn(caller.tenant(), turn).await else { return };
    let mut seq = Seq(row.seq.0.saturating_sub(1));
    while seq < before {
        let Ok(records) = store.read(row.session, seq, READ_BATCH).await else { return };
        let Some(last) = records.last() else { return };
        seq = last.position().seq;
        for record in records.iter().filter(|record| record.position().seq < before) {
            feed.take(record, named);
        }
    }
}

/// The reader's side of a stream.
struct Outlet {
    life: Life,
    receiver: mpsc::Receiver<Sent>,
    first: std::collections::VecDeque<Sent>,
    begun: bool,
}

impl Outlet {
    async fn chunk(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some((Ok(Bytes::from_static(b"retry: 2000\n\n")), self));
        }
        if self.life.is_over() {
            return None;
        }
        if let Some((cursor, news)) = self.first.pop_front() {
            return Some((Ok(encode(cursor, &news)), self));
        }
        loop {
            tokio::select! {
                sent = self.receiver.recv() => {
                    let (cursor, news) = sent?;
                    return Some((Ok(encode(cursor, &news)), self));
                }
                sign = self.life.sign() => match sign {
                    Sign::Over => return None,
                    Sign::Beat | Sign::Draining => {}
                },
                () = sleep(COMMENT) => return Some((Ok(Bytes::from_static(b":\n\n")), self)),
            }
        }
    }
}

fn encode(cursor: Option<Cursor>, news: &News) -> Bytes {
    let data = serde_json::to_string(news).unwrap_or_else(|_| "{}".to_owned());
    match cursor {
        Some(cursor) => format!("id: {cursor}\ndata: {data}\n\n").into(),
        None => format!("data: {data}\n\n").into(),
    }
}
