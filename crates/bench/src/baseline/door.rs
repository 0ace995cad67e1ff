//! How turns are asked for and told: SSE and WebSocket.

use std::{convert::Infallible, fmt::Write, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{
        Path, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Shared,
    turn::{self, Input, Told},
};

/// Tellings that may wait for a slow client; the turn waits beyond.
const UNTOLD: usize = 64;
/// A socket's read buffer in bytes: inputs are short, and idle sockets many.
const SOCKET_BUFFER: usize = 4096;

/// A frame to a WebSocket client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    Tokens { n: u64, text: &'a str },
    Done { tokens: u64 },
    Failed { message: &'a str },
}

pub(super) async fn turn(
    State(shared): State<Arc<Shared>>,
    Path(session): Path<String>,
    Json(input): Json<Input>,
) -> Response {
    let told = start(&shared, Input { session, ..input });
    let events = stream::unfold(told, |mut told| async {
        let next = told.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(events(next))), told))
    });
    respond(events)
}

/// A follower to whom nothing happens.
pub(super) async fn idle() -> Response {
    let greeting = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b": hi\n\n")) });
    respond(greeting.chain(stream::pending()))
}

pub(super) async fn socket(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.read_buffer_size(SOCKET_BUFFER).on_upgrade(|socket| async move {
        // A client that went away.
        talk(&shared, socket).await.ok();
    })
}

async fn talk(shared: &Arc<Shared>, mut socket: WebSocket) -> Result<(), axum::Error> {
    while let Some(message) = socket.recv().await {
        let Message::Text(text) = message? else { continue };
        let Ok(input) = serde_json::from_str(&text) else { continue };
        let mut told = start(shared, input);
        while let Some(next) = told.recv().await {
            socket.send(Message::Text(frame(&next).into())).await?;
        }
    }
    socket.flush().await
}

fn start(shared: &Arc<Shared>, input: Input) -> mpsc::Receiver<Told> {
    let (tell, told) = mpsc::channel(UNTOLD);
    let running = Arc::clone(shared);
    shared.turns.spawn(async move { turn::run(&running, input, tell).await });
    told
}

/// One event a token; all that came together in one piece.
fn events(told: Told) -> String {
    let mut text = String::new();
    let written = match told {
        Told::Tokens(first, tokens) => (first..).zip(&tokens).try_for_each(|(n, token)| {
            write!(text, "id: {n}\nevent: token\ndata: {{\"t\":{}}}\n\n", quoted(token))
        }),
        Told::Done(tokens) => write!(text, "event: done\ndata: {{\"tokens\":{tokens}}}\n\n"),
        Told::Failed(message) => write!(text, "event: failed\ndata: {}\n\n", quoted(&message)),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    text
}

fn frame(told: &Told) -> String {
    let text;
    let frame = match told {
        Told::Tokens(n, tokens) => {
            text = tokens.concat();
            Frame::Tokens { n: *n, text: &text }
        }
        Told::Done(tokens) => Frame::Done { tokens: *tokens },
        Told::Failed(message) => Frame::Failed { message },
    };
    serde_json::to_string(&frame).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn respond(events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
