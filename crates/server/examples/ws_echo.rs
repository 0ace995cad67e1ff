//! A WebSocket that repeats what it hears, set up exactly as the native door's: what the Autobahn suite is run
//! against (`cargo xtask e2e suites`). Usage: `ws_echo PORT`.

use std::{env, error::Error, net::Ipv4Addr};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_server::{limits::CLOSE_GRACE, websocket};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::CloseFrame},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).ok_or("usage: ws_echo PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let mut sockets = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => { sockets.spawn(repeat(accepted?.0)); }
            Some(_) = sockets.join_next() => {}
        }
    }
}

/// Repeats messages until the client ends, and closes as the door does after what is not WebSocket.
async fn repeat(stream: TcpStream) {
    // What a client that went away does not hear is nobody's loss.
    drop(stream.set_nodelay(true));
    let Ok(mut socket) = accept_async_with_config(stream, Some(websocket::config())).await else { return };
    while let Some(message) = socket.next().await {
        let said = match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await,
            Ok(_) => Ok(()),
            Err(error) => {
                let Some(code) = websocket::close_code(&error) else { return };
                let goodbye = async {
                    drop(socket.close(Some(CloseFrame { code, reason: Utf8Bytes::default() })).await);
                    while let Some(Ok(_)) = socket.next().await {}
                };
                drop(timeout(CLOSE_GRACE, goodbye).await);
                return;
            }
        };
        if said.is_err() {
            return;
        }
    }
}
