//! An answer's body: whole, or frame by frame at the script's pace.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;

use super::{Frames, Model, script::Script};

/// A body.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Paced(Box<Paced>),
}

/// A streamed answer under way.
pub(super) struct Paced {
    frames: Arc<Frames>,
    script: Script,
    model: Arc<Model>,
    next: usize,
    began: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(frames: Arc<Frames>, script: Script, model: Arc<Model>) -> Self {
        Self { frames, script, model, next: 0, began: Instant::now(), pause: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(frame) = self.frames.all.get(self.next) else { return Poll::Ready(None) };
        let token = self.next.checked_sub(self.frames.lead).filter(|token| *token < self.frames.tokens);
        let wait = token.map(|token| self.script.before(token)).filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
            ready!(pause.as_mut().poll(context));
            self.pause = None;
            if token == Some(0) {
                self.model.counts().first_token(self.began.elapsed().as_secs_f64() * 1e3);
            }
        }
        self.next += 1;
        Poll::Ready(Some(frame.clone()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Paced(paced) => ready!(paced.poll(context)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Paced(_) => hyper::body::SizeHint::default(),
        }
    }
}
