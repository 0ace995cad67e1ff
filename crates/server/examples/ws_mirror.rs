//! Makes an echo of any socket route of a running server, for a suite that wants one (`cargo xtask e2e suites`).
//! Usage: `ws_mirror PORT SERVER_PORT KEY_FILE`.
//!
//! What a client sends reaches the server as it is, byte by byte: the route alone judges it, answers its pings and
//! closes. Only the frame with which a route says that it did not understand a message is replaced, by that message.

use std::{collections::VecDeque, env, error::Error, fs, net::Ipv4Addr, sync::Arc};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
    task::JoinSet,
};

/// Most bytes of a request's or an answer's head.
const HEAD_MOST: usize = 16 * 1024;
/// Room for one read.
const READ: usize = 64 * 1024;

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

type Said = Arc<Mutex<Messages>>;
type Fault = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let usage = "usage: ws_mirror PORT SERVER_PORT KEY_FILE";
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, server, key] = arguments.as_slice() else { return Err(usage.into()) };
    let (server, key) = (server.parse()?, fs::read_to_string(key)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, key) = (accepted?.0, key.trim().to_owned());
                // What ends a connection early shows at the suite's end of it.
                connections.spawn(async move { mirror(client, server, &key).await.ok() });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its handshake to its end.
async fn mirror(mut client: TcpStream, server: u16, key: &str) -> Result<(), Fault> {
    client.set_nodelay(true)?;
    let mut route = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    route.set_nodelay(true)?;
    let (head, rest) = read_head(&mut client).await?;
    route.write_all(with_key(&head, server, key).as_bytes()).await?;
    let (answer, frames) = read_head(&mut route).await?;
    client.write_all(answer.as_bytes()).await?;
    let said = Said::default();
    let (from_client, to_client) = client.into_split();
    let (from_route, to_route) = route.into_split();
    let (there, back) = tokio::join!(
        forward(from_client, to_route, rest, Arc::clone(&said)),
        reflect(from_route, to_client, frames, said),
    );
    there.and(back)
}

/// Everything up to the empty line, and what came after it.
async fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Fault> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes)?, rest));
        }
        if bytes.len() > HEAD_MOST || stream.read_buf(&mut bytes).await? == 0 {
            return Err("a head without an end".into());
        }
    }
}

/// The client's request as one of the server's own, by who may come in.
fn with_key(head: &str, server: u16, key: &str) -> String {
    let ours = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !["host", "origin"].iter().any(|theirs| name.eq_ignore_ascii_case(theirs))
    };
    let mut lines: Vec<String> = head.trim_end().split("\r\n").filter(ours).map(str::to_owned).collect();
    lines.extend([format!("Host: 127.0.0.1:{server}"), format!("Authorization: Bearer {key}")]);
    lines.join("\r\n") + "\r\n\r\n"
}

/// Hands on what the client sends, after it was noted.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    first: Vec<u8>,
    said: Said,
) -> Result<(), Fault> {
    let (mut notes, mut bytes) = (Notes::default(), first);
    loop {
        if !bytes.is_empty() {
            notes.note(&bytes, &mut *said.lock().await);
            to.write_all(&bytes).await?;
            bytes.clear();
        }
        bytes.reserve(READ);
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(to.shutdown().await?);
        }
    }
}

/// Hands on what the route sends; where it did not understand a message, the message.
async fn reflect(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    first: Vec<u8>,
    said: Said,
) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    let mut bytes = first;
    loop {
        while let Some((frame, payload)) = Frame::parse(&bytes) {
            let opcode = frame.first & 0x0f;
            if opcode == TEXT {
                let kind = serde_json::from_slice::<Kind>(&bytes[payload..frame.end]);
                // A greeting is nothing the suite knows.
                if kind.is_ok_and(|kind| kind.kind == "error") {
                    let (first, message) = said.lock().await.0.pop_front().ok_or("an answer to nothing")?;
                    to.write_all(&whole(first, &message)).await?;
                }
            } else {
                to.write_all(&bytes[..frame.end]).await?;
            }
            bytes.drain(..frame.end);
        }
        bytes.reserve(READ);
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(to.shutdown().await?);
        }
    }
}

/// A server's frame that holds all of a message.
fn whole(first: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match message.len() {
        short @ 0..=125 => bytes.push(short as u8),
        middle @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(message);
    bytes
}

/// Messages of the client that the route has not answered yet, each with the first byte of a frame that holds it.
#[derive(Default)]
struct Messages(VecDeque<(u8, Vec<u8>)>);

/// What was seen of the client's frames. It believes all of them: to find fault is the route's part.
#[derive(Default)]
struct Notes {
    bytes: Vec<u8>,
    message: Option<(u8, Vec<u8>)>,
}

impl Notes {
    fn note(&mut self, bytes: &[u8], said: &mut Messages) {
        self.bytes.extend_from_slice(bytes);
        while let Some((frame, payload)) = Frame::parse(&self.bytes) {
            let mask = frame.mask;
            let masked = self.bytes[payload..frame.end].iter().zip(mask.iter().cycle());
            let unmasked = masked.map(|(byte, mask)| byte ^ mask);
            match frame.first & 0x0f {
                opcode @ (TEXT | BINARY) => self.message = Some((FIN | opcode, unmasked.collect())),
                0 => self.message.iter_mut().for_each(|(_, message)| message.extend(unmasked.clone())),
                _ => {}
            }
            if frame.first & 0x0f <= BINARY && frame.first & FIN == FIN {
                said.0.extend(self.message.take());
            }
            self.bytes.drain(..frame.end);
        }
    }
}

/// A frame that is there whole.
struct Frame {
    first: u8,
    mask: [u8; 4],
    end: usize,
}

impl Frame {
    /// The frame at the beginning of these bytes, and where its payload begins.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            mask = *bytes.get(at..)?.first_chunk()?;
            at += 4;
        }
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        (bytes.len() >= end).then_some((Self { first, mask, end }, at))
    }
}
