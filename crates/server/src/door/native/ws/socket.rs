//! The life of one WebSocket: one task, no channels, every wait bounded.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use moongate_core::{Encoding, Follower, Frame, FrameBody, StoreError};
use moongate_protocol::{Cancel, ErrorCode, Idempotency, KeySpace, Notice, Position, SessionId};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    frames::{self, Ack, Ask, Input, Nothing, Ref, Subscribe, Subscribed, Word},
    settings,
};
use crate::{
    App,
    body::parse,
    caller::Authenticated,
    door::native::{
        approvals,
        parts::InputBody,
        questions,
        views::{AcceptedBody, CancelledBody},
    },
    life::{Life, Sign},
    limits::{CLOSE_GRACE, WS_SILENCE, WS_SUBSCRIPTIONS},
    reply::{Answer, Failure},
};

/// Why a socket is closed, as its close code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The client went away, or broke the connection.
    Gone,
    /// The key is no longer valid.
    Revoked,
    /// The client does not read.
    Slow,
    /// The server goes away; come back and resume.
    Restart,
    /// The client does not speak WebSocket.
    Protocol(CloseCode),
}

impl Ending {
    fn code(self) -> Option<CloseCode> {
        match self {
            Self::Gone => None,
            Self::Revoked => Some(CloseCode::from(4001)),
            Self::Slow => Some(CloseCode::from(4008)),
            Self::Restart => Some(CloseCode::Restart),
            Self::Protocol(code) => Some(code),
        }
    }
}

/// A session the socket follows.
struct Subscription {
    session: SessionId,
    follower: Follower,
    deltas: bool,
    frames: Vec<Arc<Frame>>,
}

type Step = Pin<Box<dyn Future<Output = (Subscription, Result<(), StoreError>)> + Send>>;

struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    life: Life,
    /// The followers that wait for news.
    waiting: FuturesUnordered<Abortable<Step>>,
    /// What ends each following.
    following: HashMap<SessionId, AbortHandle>,
    /// When the client last said anything, pongs included.
    heard: Instant,
}

/// Serves a WebSocket until it ends.
pub(super) async fn run(app: App, caller: Authenticated, upgrade: OnUpgrade) {
    let upgraded = match timeout(app.limits().head_timeout, upgrade).await {
        Ok(Ok(upgraded)) => TokioIo::new(upgraded),
        _ => return,
    };
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(settings::config())).await;
    let life = Life::of_websocket(&app, caller);
    let (waiting, following) = (FuturesUnordered::new(), HashMap::new());
    let mut socket = Socket { stream, life, waiting, following, heard: Instant::now() };
    let ending = socket.live().await;
    socket.close(ending).await;
}

impl Socket {
    async fn live(&mut self) -> Ending {
        loop {
            let done = tokio::select! {
                biased;
                message = self.stream.next() => match message {
                    None => Err(Ending::Gone),
                    Some(message) => self.hear(message).await,
                },
                Some(step) = self.waiting.next(), if !self.waiting.is_empty() => self.tell(step).await,
                sign = self.life.sign() => self.heed(sign).await,
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    async fn hear(&mut self, message: Result<Message, tungstenite::Error>) -> Result<(), Ending> {
        self.heard = Instant::now();
        let text = match message.map_err(|error| fault(&error))? {
            Message::Text(text) => text,
            Message::Binary(_) => {
                let failure = Failure::invalid("frames are text");
                return self.say(frames::failed(None, &failure)).await;
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
            // The answer goes out when the stream is read to its end.
            Message::Close(_) => return Ok(()),
        };
        if self.life.is_revoked() {
            return Err(Ending::Revoked);
        }
        // Boxed: a socket that only listens does not carry the room commands take.
        Box::pin(self.obey(&text)).await
    }

    async fn obey(&mut self, text: &str) -> Result<(), Ending> {
        let (name, ask) = frames::read(text);
        let answer = match ask {
            Ok(ask) => self.answer(&name, ask).await,
            Err(failure) => Err(failure),
        };
        let reply = answer.unwrap_or_else(|failure| frames::failed(name.as_deref(), &failure));
        self.say(reply).await
    }

    async fn answer(&mut self, name: &Ref, ask: Ask) -> Answer<Bytes> {
        let gateway = self.life.app().gateway().clone();
        let caller = self.life.caller().clone();
        match ask {
            Ask::Subscribe(subscribe) => self.subscribe(name, subscribe).await,
            Ask::Unsubscribe(unsubscribe) => {
                if let Some(following) = self.following.remove(&unsubscribe.session) {
                    following.abort();
                }
                Ok(ack(name, Nothing {}))
            }
            Ask::Input(input) => submit(self.life.app(), &caller, name, input).await,
            Ask::Cancel(cancel) => {
                let session = gateway.session(&caller, cancel.session).await?;
                let (turn, clear_queue) = (cancel.turn, cancel.clear_queue);
                let cancelled = session.cancel(Cancel { turn, clear_queue }).await?;
                Ok(ack(name, CancelledBody::from(cancelled)))
            }
            Ask::Approve { approval, decision } => {
                let decision = parse(&decision)?;
                Ok(ack(name, approvals::resolve(self.life.app(), &caller, approval, decision).await?))
            }
            Ask::Answer { question, answers } => {
                let answers = parse(&answers)?;
                Ok(ack(name, questions::reply_to(self.life.app(), &caller, question, answers).await?))
            }
            Ask::Ping => Ok(frames::encode(&Word::Pong { name: name.as_deref() })),
        }
    }

    async fn subscribe(&mut self, name: &Ref, asked: Subscribe) -> Answer<Bytes> {
        let after = asked.after.map(|text| text.parse::<Position>()).transpose();
        let after = after.map_err(|error| Failure::field("after", error.to_string()))?;
        let session = self.life.app().gateway().session(self.life.caller(), asked.session).await?;
        let replaced = self.following.remove(&asked.session);
        if let Some(replaced) = replaced {
            replaced.abort();
        } else if self.following.len() >= WS_SUBSCRIPTIONS {
            let message = format!("a socket follows at most {WS_SUBSCRIPTIONS} sessions");
            return Err(Failure::new(ErrorCode::RateLimited, message));
        }
        let (follower, head) = (session.follow(after), session.head());
        let (handle, registration) = AbortHandle::new_pair();
        let deltas = asked.deltas.unwrap_or(true);
        let subscription = Subscription { session: session.id(), follower, deltas, frames: Vec::new() };
        self.following.insert(session.id(), handle);
        self.waiting.push(Abortable::new(Box::pin(advance(subscription)), registration));
        Ok(ack(name, Subscribed { session: session.id(), head }))
    }

    /// Sends what a follower has, and lets it wait for more.
    async fn tell(
        &mut self,
        step: Result<(Subscription, Result<(), StoreError>), Aborted>,
    ) -> Result<(), Ending> {
        let Ok((mut subscription, result)) = step else { return Ok(()) };
        if let Err(error) = result {
            self.following.remove(&subscription.session);
            return self.say(frames::failed(None, &Failure::from(error))).await;
        }
        let session = subscription.session;
        let deltas = subscription.deltas;
        let shown = |frame: &Arc<Frame>| deltas || !matches!(frame.body, FrameBody::Delta(_));
        let mut messages = Vec::with_capacity(subscription.frames.len());
        for frame in subscription.frames.drain(..).filter(shown) {
            self.life.sent(&frame);
            messages.push(match &frame.body {
                FrameBody::Reset(position) => frames::encode(&Word::Reset { session, position: *position }),
                _ => frame.encoded(Encoding::NATIVE_WS, frames::encode_frame).clone(),
            });
        }
        // Ended meanwhile, for example by an unsubscribe: what is under way is dropped.
        if !self.following.contains_key(&session) {
            return Ok(());
        }
        let (handle, registration) = AbortHandle::new_pair();
        self.following.insert(session, handle);
        self.waiting.push(Abortable::new(Box::pin(advance(subscription)), registration));
        self.say_all(messages).await
    }

    async fn heed(&mut self, sign: Sign) -> Result<(), Ending> {
        match sign {
            Sign::Beat if self.heard.elapsed() > WS_SILENCE => Err(Ending::Gone),
            Sign::Beat => self.send(Message::Ping(Bytes::new())).await,
            Sign::Draining => self.say(frames::encode(&Word::Notice { notice: &Notice::Draining })).await,
            Sign::Over if self.life.app().closing().is_cancelled() => Err(Ending::Restart),
            Sign::Over => Err(Ending::Revoked),
        }
    }

    async fn say(&mut self, text: Bytes) -> Result<(), Ending> {
        match Utf8Bytes::try_from(text) {
            Ok(text) => self.send(Message::Text(text)).await,
            Err(_) => Ok(()),
        }
    }

    /// Sends all, gathered into as few writes as possible.
    async fn say_all(&mut self, texts: Vec<Bytes>) -> Result<(), Ending> {
        let patience = self.patience();
        for text in texts.into_iter().filter_map(|text| Utf8Bytes::try_from(text).ok()) {
            within(patience, self.stream.feed(Message::Text(text))).await?;
        }
        within(patience, self.stream.flush()).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        let patience = self.patience();
        within(patience, self.stream.send(message)).await
    }

    /// How long a client may take no bytes: less than the socket allows, so that there is time to say why.
    fn patience(&self) -> Duration {
        self.life.app().limits().write_stall * 2 / 3
    }

    async fn close(mut self, ending: Ending) {
        let Some(code) = ending.code() else { return };
        if ending == Ending::Slow {
            self.life.app().metrics().stalled.add();
        }
        let goodbye = async {
            // Whether the client still hears it is its own affair.
            drop(self.stream.close(Some(CloseFrame { code, reason: Utf8Bytes::default() })).await);
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        drop(timeout(CLOSE_GRACE, goodbye).await);
    }
}

/// Waits for a session's next frames.
async fn advance(mut subscription: Subscription) -> (Subscription, Result<(), StoreError>) {
    let result = subscription.follower.next(&mut subscription.frames).await;
    (subscription, result)
}

async fn submit(app: &App, caller: &Authenticated, name: &Ref, asked: Input) -> Answer<Bytes> {
    let gateway = app.gateway();
    let session = gateway.session(caller, asked.session).await?;
    let body: InputBody<'_> = parse(&asked.body)?;
    let mut input = body.into_input(&session, &**gateway.store(), asked.body.len()).await?;
    input.idempotency = asked.idempotency_key.map(|key| Idempotency {
        key,
        body_hash: asked.body_hash,
        space: KeySpace::Session,
        instead_of: None,
    });
    Ok(ack(name, AcceptedBody::from(&session.submit(input).await?)))
}

fn ack<T: Serialize>(name: &Ref, body: T) -> Bytes {
    frames::encode(&Ack { name: name.as_deref(), body })
}

/// Waits for a write, as long as a client may take no bytes.
async fn within(
    patience: Duration,
    write: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), Ending> {
    timeout(patience, write).await.map_err(|_| Ending::Slow)?.map_err(|_| Ending::Gone)
}

fn fault(error: &tungstenite::Error) -> Ending {
    settings::close_code(error).map_or(Ending::Gone, Ending::Protocol)
}
