//! `/ws`: chats of any number of namespaces over one socket, each streamed to its end.

mod follow;
mod warm;

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::Response,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::Uri;
use moongate_core::{Scope, SessionHandle};
use moongate_protocol::{ApprovalId, Cancel, Decision, ErrorCode, Resolve};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::follow::Follows;
use super::{
    Orra,
    chat::{self, Begun, Wish},
    fault::{Code, Fault, Reply},
    frames::{self, About, Ask, Chat, Error, Frame, What},
    name::{Meaning, Name},
    rest::require,
    translate::{Shown, Tale},
};
use crate::{
    caller::Authenticated,
    door::shared::{
        Door,
        kin::Kin,
        socket::{Bounds, End, Heard, Socket, upgrade},
    },
};

/// Bad frames in a row a client may send.
const BAD_FRAMES: u32 = 20;
/// Chats of one socket whose last frames are asked for again.
const REPEATED: usize = 256;

/// Frames a client asked for besides the first ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions {
    tools: bool,
    reasoning: bool,
    status: bool,
}

impl Extensions {
    fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&');
        let asked =
            pairs.filter_map(|pair| pair.strip_prefix("ext=")).flat_map(|list| list.split([',', '+']));
        let mut ext = Self::default();
        for name in asked.flat_map(|list| list.split("%2C")) {
            match name {
                "tools" => ext.tools = true,
                "reasoning" => ext.reasoning = true,
                "status" => ext.status = true,
                _ => {}
            }
        }
        ext
    }

    /// Whether the client reads such a frame.
    fn reads(self, what: &What) -> bool {
        match what {
            What::ToolStarted { .. } | What::ToolFinished { .. } => self.tools,
            What::ReasoningDelta { .. } => self.reasoning,
            What::Accepted { .. } | What::TurnStarted | What::ToolApprovalResolved { .. } => self.status,
            _ => true,
        }
    }
}

pub(super) async fn open(State(door): State<Door<Orra>>, caller: Authenticated, request: Request) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let share = door.sockets.try_take(caller.key());
    let share = share.ok_or_else(|| Fault::later(Code::RateLimited, Duration::from_secs(5)))?;
    let ext = Extensions::of(request.uri());
    let limits = door.settings.limits;
    let bounds = Bounds {
        speaks: &["orra.v1"],
        message_bytes: door.settings.max_body_bytes,
        frames: limits.send_frames,
        bytes: limits.send_bytes,
        ping: Duration::from_secs(door.settings.ping_secs),
    };
    let app = door.app().clone();
    let response: Response = upgrade(&app, caller, request, bounds, move |socket| async move {
        let _share = share;
        let mut line = Line::new(door, ext, socket);
        let (code, reason) = match line.live().await {
            End::Gone | End::Silent => return,
            End::Revoked => (CloseCode::Policy, "the key is no longer valid"),
            End::Slow => (CloseCode::Again, "too slow"),
            End::GoingAway => (CloseCode::Away, "the server goes away"),
            End::TooLarge => (CloseCode::Size, "the message is too large"),
            End::Protocol(code) => (code, "bad frames"),
        };
        line.socket.close(code, reason).await;
    })?;
    Ok(response)
}

/// A chat's last frame that was asked for again.
type Again = Pin<Box<dyn Future<Output = (Option<Arc<str>>, Arc<str>, Reply<Shown>)> + Send>>;

/// One socket and all that happens on it.
struct Line {
    door: Door<Orra>,
    socket: Socket<Frame>,
    follows: Follows,
    again: FuturesUnordered<Again>,
    bad_frames: u32,
}

enum Step {
    Heard(Heard),
    Shown(Vec<Frame>),
    Again(Frame),
}

impl Line {
    fn new(door: Door<Orra>, ext: Extensions, socket: Socket<Frame>) -> Self {
        let kin = Kin::new(door.app().gateway().clone(), socket.caller().clone());
        let follows = Follows::new(door.app().clone(), ext, kin);
        Self { door, socket, follows, again: FuturesUnordered::new(), bad_frames: 0 }
    }

    async fn live(&mut self) -> End {
        loop {
            let step = self.step().await;
            let done = match step {
                Step::Heard(Heard::Text(text)) => Box::pin(self.hear(&text)).await,
                Step::Heard(Heard::Binary | Heard::Pong(_) | Heard::Room | Heard::Draining) => Ok(()),
                Step::Heard(Heard::Ended(end)) => Err(end),
                Step::Shown(frames) => frames.into_iter().try_for_each(|frame| self.socket.say(frame)),
                Step::Again(frame) => self.socket.say(frame),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn step(&mut self) -> Step {
        tokio::select! {
            biased;
            heard = self.socket.next() => Step::Heard(heard),
            frames = self.follows.next() => Step::Shown(frames),
            Some((request_id, namespace, shown)) = self.again.next(), if !self.again.is_empty() => {
                Step::Again(last_frame(request_id, namespace, shown))
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        let (request_id, ask) = frames::read(text);
        let request_id: Option<Arc<str>> = request_id.map(Into::into);
        let mut about = About { request_id: request_id.clone(), ..About::default() };
        let ask = match ask {
            Ok(ask) => ask,
            Err(fault) => {
                self.bad_frames += 1;
                if self.bad_frames >= BAD_FRAMES {
                    return Err(End::Protocol(CloseCode::Policy));
                }
                return self.fail(about, fault);
            }
        };
        self.bad_frames = 0;
        if let Ask::Chat(Chat { namespace: Some(name), .. }) = &ask
            && !name.is_empty()
        {
            about.namespace = Some(name.as_str().into());
        }
        let done = match ask {
            Ask::Chat(chat) => self.chat(request_id, chat).await,
            Ask::ToolApprovalResponse { call_id, approved } => self.decide(&call_id, approved).await,
            Ask::Ping => return self.socket.say(Frame { what: What::Pong, about }),
            Ask::Pong => Ok(Vec::new()),
            Ask::Cancel { namespace, turn_id } => self.cancel(&namespace, turn_id.as_deref()).await,
            Ask::Subscribe { namespace, after_seq, epoch } => {
                self.subscribe(request_id, &namespace, after_seq, epoch).await
            }
        };
        match done {
            Ok(frames) => frames.into_iter().try_for_each(|frame| self.socket.say(frame)),
            Err(fault) => self.fail(about, fault),
        }
    }

    fn fail(&mut self, about: About, fault: Fault) -> Result<(), End> {
        self.socket.say(Frame { what: What::Error(Error::of(fault, None)), about })
    }

    async fn chat(&mut self, request_id: Option<Arc<str>>, chat: Chat) -> Reply<Vec<Frame>> {
        if chat.instance.is_some() {
            return Err(Code::NotSupported.into());
        }
        if self.again.len() >= REPEATED {
            return Err(Fault::later(Code::QueueFull, Duration::from_secs(5)));
        }
        let Chat { message, namespace, model, agent, idempotency_key: key, .. } = chat;
        let caller = self.socket.caller().clone();
        let ready = chat::prepare(
            &self.door,
            &caller,
            Wish { message, namespace, metadata: None, model, agent, key },
        )?;
        self.follows.make_room(&ready.name)?;
        let begun = ready.begin(&self.door, &caller, &self.door.turns.gate(caller.key())).await?;
        let (session, input) = (begun.session.clone(), begun.accepted.input);
        if begun.accepted.again {
            let frames = self.follows.attend(&ready.name, &session, None).await?;
            let (namespace, Begun { accepted, mut follower, .. }) = (Arc::from(ready.name.as_str()), begun);
            self.again.push(Box::pin(async move {
                let shown = chat::until_ended(&mut follower, &accepted, &mut None).await;
                (request_id, namespace, shown)
            }));
            return Ok(frames);
        }
        let patience = self.door.patience().filter(|_| begun.accepted.queue_length > 0);
        let frames = self.follows.said(&ready.name, begun, request_id).await?;
        if let Some(patience) = patience {
            self.follows.waits(session, input, patience);
        }
        Ok(frames)
    }

    async fn decide(&mut self, call_id: &str, approved: bool) -> Reply<Vec<Frame>> {
        let caller = self.socket.caller().clone();
        require(&caller, Scope::ApprovalsDecide)?;
        let unknown = || Fault::from(Code::ApprovalNotFound);
        let approval: ApprovalId = call_id.parse().map_err(|_| unknown())?;
        let decision = if approved { Decision::Approve } else { Decision::Deny };
        let resolve = Resolve { approval, decision, arguments: None, reason: None, remember: None };
        // A later answer than the first is no fault, and changes nothing.
        match self.door.app().gateway().resolve(&caller, resolve).await {
            Ok(_) => Ok(Vec::new()),
            Err(refusal) if refusal.code == ErrorCode::NotFound => Err(unknown()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn cancel(&mut self, namespace: &str, turn_id: Option<&str>) -> Reply<Vec<Frame>> {
        let turn = turn_id.map(str::parse).transpose().map_err(|_| Fault::from(Code::InvalidFrame))?;
        let (_, session) = self.session(namespace, Scope::SessionsWrite).await?;
        match session.cancel(Cancel { turn, clear_queue: false }).await {
            Ok(_) => Ok(Vec::new()),
            // Another turn runs, or none: nothing to stop, nothing to say.
            Err(refusal) if refusal.code == ErrorCode::Conflict => Ok(Vec::new()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn subscribe(
        &mut self,
        request_id: Option<Arc<str>>,
        namespace: &str,
        after: Option<u64>,
        epoch: Option<String>,
    ) -> Reply<Vec<Frame>> {
        let (name, session) = self.session(namespace, Scope::SessionsRead).await?;
        self.follows.make_room(&name)?;
        let mut frames = self.follows.subscribe(&name, session, after, epoch).await?;
        if let Some(answer) = frames.first_mut() {
            answer.about.request_id = request_id;
        }
        Ok(frames)
    }

    /// The session a frame names, for whoever has this right.
    async fn session(&mut self, namespace: &str, scope: Scope) -> Reply<(Name, SessionHandle)> {
        let caller = self.socket.caller().clone();
        require(&caller, scope)?;
        let name = Name::parse(namespace)?;
        let session = Meaning::of(&caller, &name)?.find(self.door.app(), &caller, scope).await?;
        Ok((name, session))
    }
}

/// The last frame of a chat that was said again.
fn last_frame(request_id: Option<Arc<str>>, namespace: Arc<str>, shown: Reply<Shown>) -> Frame {
    let mut about = About { namespace: Some(namespace), request_id, ..About::default() };
    let failed = |fault: Fault| What::Error(Error::of(fault, None));
    let what = match shown {
        Ok(shown) => {
            (about.turn_id, about.seq) = (shown.turn, Some(shown.seq));
            match shown.tale {
                Tale::Frame(what) => what,
                _ => failed(Code::Cancelled.into()),
            }
        }
        Err(fault) => failed(fault),
    };
    Frame { what, about }
}
