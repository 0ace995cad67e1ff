//! One client: one connection and one session.

use std::time::Duration;

use bytes::BytesMut;
use clap::ValueEnum;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{
    marks::{Marks, Seen, Turn},
    site::{Kind, Session, Site, refused},
};
use crate::{
    Fault,
    http1::{Connection, Request},
};

/// A client's end of a WebSocket.
pub(super) type Socket = WebSocketStream<TcpStream>;

/// Bytes the kernel keeps for a client that is not to have room.
const NARROW: u32 = 4 * 1024;

/// A turn that takes longer has failed.
const TURN_MOST: Duration = Duration::from_secs(30);

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// A request a turn, its answer an event stream
    Sse,
    /// One socket for all turns
    Ws,
}

/// A client.
pub(super) struct Client {
    site: Site,
    session: Session,
    link: Link,
    said: u64,
    /// The answer so far; kept for its memory.
    answer: BytesMut,
}

enum Link {
    Http(Box<Connection>),
    Socket(Box<Socket>),
}

impl Client {
    /// Connects and begins a session.
    pub(super) async fn open(site: &Site, transport: Transport) -> Result<Self, Fault> {
        let mut connection = Connection::open(site.at).await?;
        let session = site.open(&mut connection).await?;
        let link = match transport {
            Transport::Sse => Link::Http(Box::new(connection)),
            Transport::Ws => Link::Socket(Box::new(talking_socket(site, &session).await?)),
        };
        Ok(Self { site: site.clone(), session, link, said: 0, answer: BytesMut::new() })
    }

    /// The session it talks in.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Begins another session on the same connection.
    pub(super) async fn renew(&mut self) -> Result<(), Fault> {
        if let Link::Http(connection) = &mut self.link {
            self.session = self.site.open(connection).await?;
            self.said = 0;
        }
        Ok(())
    }

    /// Says something and waits for the whole answer.
    pub(super) async fn turn(&mut self) -> Result<Turn, Fault> {
        self.said += 1;
        let text = format!("hello, turn {}", self.said);
        self.answer.clear();
        let turn = async {
            match &mut self.link {
                Link::Http(connection) => {
                    ask(connection, &self.site, &self.session, &text, &mut self.answer).await
                }
                Link::Socket(socket) => {
                    talk(socket, &self.site, &self.session, &text, &mut self.answer).await
                }
            }
        };
        tokio::time::timeout(TURN_MOST, turn).await?
    }
}

async fn ask(
    connection: &mut Connection,
    site: &Site,
    session: &Session,
    text: &str,
    answer: &mut BytesMut,
) -> Result<Turn, Fault> {
    let marks = Marks::new(&site.last_word, site.endings(false));
    let body = site.input(session, text, false)?;
    let (path, headers) = (site.turn_path(session), site.stream_headers(session));
    let mut seen = Seen::begin();
    let request = Request { method: "POST", path: &path, headers: &headers, body: &body };
    let status = connection.send(&request).await?;
    while connection.read(answer).await? {
        seen.look(&marks, answer);
    }
    if !(200..300).contains(&status) {
        return Err(refused(status, answer));
    }
    if !connection.is_reusable() {
        *connection = Connection::open(site.at).await?;
    }
    Ok(seen.end()?)
}

async fn talk(
    socket: &mut Socket,
    site: &Site,
    session: &Session,
    text: &str,
    answer: &mut BytesMut,
) -> Result<Turn, Fault> {
    let marks = Marks::new(&site.last_word, site.endings(true));
    let frame = site.input(session, text, true)?;
    let mut seen = Seen::begin();
    socket.send(Message::text(frame)).await?;
    loop {
        match socket.next().await.ok_or("the socket was closed")?? {
            Message::Text(frame) => answer.extend_from_slice(frame.as_bytes()),
            Message::Close(_) => return Err("the socket was closed".into()),
            _ => continue,
        }
        if seen.look(&marks, answer) {
            return Ok(seen.end()?);
        }
    }
}

/// A socket to talk in `session` with.
async fn talking_socket(site: &Site, session: &Session) -> Result<Socket, Fault> {
    // Elsewhere who talks is told of it without asking.
    if site.kind == Kind::Moongate {
        return open_socket(site, session).await;
    }
    handshake(site, session, TcpStream::connect(site.at).await?, false).await
}

/// A socket that follows `session`, which is there already.
pub(super) async fn open_socket(site: &Site, session: &Session) -> Result<Socket, Fault> {
    let mut socket = handshake(site, session, TcpStream::connect(site.at).await?, true).await?;
    if let Some(frame) = site.subscribe_frame(session)? {
        socket.send(Message::text(frame)).await?;
        // The first frame says that it was understood; what follows is read with the first turn.
        socket.next().await.ok_or("the socket was closed")??;
    }
    Ok(socket)
}

/// A socket that follows `session` with so little room that the server soon waits for it to be read.
pub(super) async fn narrow_socket(site: &Site, session: &Session) -> Result<Socket, Fault> {
    let stream = TcpSocket::new_v4()?;
    stream.set_recv_buffer_size(NARROW)?;
    let mut socket = handshake(site, session, stream.connect(site.at).await?, true).await?;
    if let Some(frame) = site.subscribe_frame(session)? {
        socket.send(Message::text(frame)).await?;
        socket.next().await.ok_or("the socket was closed")??;
    }
    if site.kind == Kind::Oxios {
        // It is told of a session's turns once it said something in it.
        talk(&mut socket, site, session, "hello", &mut BytesMut::new()).await?;
    }
    Ok(socket)
}

async fn handshake(
    site: &Site,
    session: &Session,
    stream: TcpStream,
    follows: bool,
) -> Result<Socket, Fault> {
    stream.set_nodelay(true)?;
    let (path, protocol) = site.socket(session, follows);
    let mut request = format!("ws://{}{path}", site.at).into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.parse()?);
    }
    if let Some(credential) = site.credential() {
        request.headers_mut().insert(AUTHORIZATION, credential.parse()?);
    }
    let (mut socket, _) = client_async(request, stream).await?;
    if site.greets() {
        socket.next().await.ok_or("the socket was closed")??;
    }
    Ok(socket)
}
