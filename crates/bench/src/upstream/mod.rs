//! A model that costs next to nothing: three wires, and an answer its own name describes.

mod anthropic;
mod chat;
mod paced;
mod responses;
mod script;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use self::{
    paced::{Answer, Paced},
    script::Script,
};
use crate::{Fault, runtime, say};

/// Models whose frames are kept; a name past that is answered like any other, only more slowly.
const KEPT_MODELS: usize = 256;
/// First-token delays kept between two resets.
const KEPT_DELAYS: usize = 100_000;

/// Where to listen.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address; port 0 takes a free one. The first line of output says which
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// One way to ask a model.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Wire {
    Chat,
    Responses,
    Anthropic,
}

/// A streamed answer, ready to be sent any number of times.
struct Frames {
    all: Vec<Bytes>,
    /// How many come before the first token.
    lead: usize,
    /// How many hold a token.
    tokens: usize,
}

/// What all connections share.
#[derive(Default)]
struct Model {
    frames: Mutex<HashMap<(Wire, String), Arc<Frames>>>,
    counts: Mutex<Counts>,
}

/// What was asked since the last reset.
#[derive(Default)]
struct Counts {
    requests: u64,
    bytes_in: u64,
    /// Milliseconds from a request's end to its first token, of answers that keep time.
    first_token_ms: Vec<f64>,
}

/// What `GET /stats` says.
#[derive(Serialize)]
struct Stats {
    requests: u64,
    bytes_in: u64,
    first_token_ms_p50: Option<f64>,
}

/// The part of a request that matters here, on every wire.
#[derive(Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    stream: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        say(&format!("listening on {}", listener.local_addr()?));
        let model = Arc::new(Model::default());
        let connections = TaskTracker::new();
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn(serve(stream, Arc::clone(&model)));
        }
    })
}

async fn serve(stream: TcpStream, model: Arc<Model>) {
    // Without it every answer waits for the other side's acknowledgement; the connection works all the same.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request| answer(&model, request));
    // A client that went away is none of the model's concern.
    http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), answer).await.ok();
}

async fn answer(model: &Arc<Model>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    let wire = match (request.method(), path) {
        (&Method::POST, path) if path.ends_with("/chat/completions") => Wire::Chat,
        (&Method::POST, path) if path.ends_with("/responses") => Wire::Responses,
        (&Method::POST, path) if path.ends_with("/messages") => Wire::Anthropic,
        (&Method::GET, "/stats") => return Ok(whole(StatusCode::OK, json(&model.stats()))),
        (&Method::POST, "/reset") => {
            *model.counts() = Counts::default();
            return Ok(whole(StatusCode::OK, "{}".into()));
        }
        _ => return Ok(refusal(StatusCode::NOT_FOUND, "no such path")),
    };
    let Ok(body) = request.into_body().collect().await else {
        return Ok(refusal(StatusCode::BAD_REQUEST, "the body was cut"));
    };
    let body = body.to_bytes();
    model.counts().add(body.len());
    let Ok(asked) = serde_json::from_slice::<Asked>(&body) else {
        return Ok(refusal(StatusCode::BAD_REQUEST, "not a request to a model"));
    };
    let Some(script) = Script::named(&asked.model) else {
        return Ok(refusal(StatusCode::NOT_FOUND, "a model is called mock-<N>t-<D>ms[-<F>first]"));
    };
    if !asked.stream {
        tokio::time::sleep(script.total()).await;
        return Ok(whole(StatusCode::OK, wire.whole(&asked.model, &script)));
    }
    let frames = model.frames(wire, asked.model, &script);
    let paced = Paced::new(frames, script, Arc::clone(model));
    Ok(respond(StatusCode::OK, "text/event-stream", Answer::Paced(Box::new(paced))))
}

impl Wire {
    fn frames(self, model: &str, script: &Script) -> Frames {
        match self {
            Self::Chat => chat::frames(model, script),
            Self::Responses => responses::frames(model, script),
            Self::Anthropic => anthropic::frames(model, script),
        }
    }

    fn whole(self, model: &str, script: &Script) -> Bytes {
        match self {
            Self::Chat => chat::whole(model, script),
            Self::Responses => responses::whole(model, script),
            Self::Anthropic => anthropic::whole(model, script),
        }
    }
}

impl Model {
    fn frames(&self, wire: Wire, name: String, script: &Script) -> Arc<Frames> {
        let mut kept = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (wire, name);
        if let Some(frames) = kept.get(&key) {
            return Arc::clone(frames);
        }
        let frames = Arc::new(wire.frames(&key.1, script));
        if kept.len() < KEPT_MODELS {
            kept.insert(key, Arc::clone(&frames));
        }
        frames
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> Stats {
        let mut counts = self.counts();
        counts.first_token_ms.sort_by(f64::total_cmp);
        let middle = counts.first_token_ms.get(counts.first_token_ms.len() / 2).copied();
        Stats { requests: counts.requests, bytes_in: counts.bytes_in, first_token_ms_p50: middle }
    }
}

impl Counts {
    fn add(&mut self, bytes: usize) {
        self.requests += 1;
        self.bytes_in += bytes as u64;
    }

    fn first_token(&mut self, ms: f64) {
        if self.first_token_ms.len() < KEPT_DELAYS {
            self.first_token_ms.push(ms);
        }
    }
}

fn refusal(status: StatusCode, message: &'static str) -> Response<Answer> {
    #[derive(Serialize)]
    struct Refused {
        error: Message,
    }
    #[derive(Serialize)]
    struct Message {
        message: &'static str,
    }
    whole(status, json(&Refused { error: Message { message } }))
}

fn whole(status: StatusCode, body: Bytes) -> Response<Answer> {
    respond(status, "application/json", Answer::Whole(Some(body)))
}

fn respond(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

#[expect(clippy::expect_used, reason = "plain structs with string keys serialize")]
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("plain data serializes").into()
}

/// One SSE event; the name only where the wire has one.
fn sse(name: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut frame = Vec::new();
    if let Some(name) = name {
        frame.extend_from_slice(b"event: ");
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'\n');
    }
    frame.extend_from_slice(b"data: ");
    frame.extend_from_slice(&json(data));
    frame.extend_from_slice(b"\n\n");
    frame.into()
}
