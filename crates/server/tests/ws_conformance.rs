//! RFC 6455 byte by byte, against the doors themselves: the cases of the Autobahn suite that matter most, for machines
//! that cannot run it. Each case has a socket of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{
    SOON,
    live::{Live, read_until},
};
use moongate_server::limits::{WS_FRAME_BYTES, WS_MESSAGE_BYTES};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The bit that says a frame ends its message.
const FIN: u8 = 0x80;

/// The reserved bits, from the first to the last.
const RESERVED: [u8; 3] = [0x40, 0x20, 0x10];

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const PROTOCOL_ERROR: u16 = 1002;
const NOT_UTF8: u16 = 1007;
const TOO_LARGE: u16 = 1009;

/// A client's frame: first byte, payload, masked as it has to be.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a masked frame that announces so many bytes.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A frame that is not masked; only servers may send such.
fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, payload.len() as u8];
    bytes.extend(payload);
    bytes
}

/// A close frame with a code and a reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// A command of the door that is answered with its own name.
fn ask(name: &str) -> String {
    format!(r#"{{"type":"ping","ref":"{name}"}}"#)
}

fn answer(name: &str) -> String {
    format!(r#"{{"type":"pong","ref":"{name}"}}"#)
}

/// What the server says.
#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Pong(Vec<u8>),
    /// With its code; none where the frame is empty.
    Close(Option<u16>),
    /// The connection ended.
    End,
}

struct Raw(TcpStream);

/// Every socket route.
const ROUTES: [&str; 5] =
    ["/api/v1/ws", "/oxios/api/chat/stream", "/construct/ws/chat", "/orra/ws", "/openai/v1/responses"];

impl Raw {
    async fn open(live: &Live) -> Self {
        Self::open_at(live, ROUTES[0]).await
    }

    async fn open_at(live: &Live, route: &str) -> Self {
        let mut stream = live.connect().await;
        let key = STANDARD.encode([7; 16]);
        let request = format!(
            "{}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n",
            live.head(&format!("GET {route}"))
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_until(&mut stream, "\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(!response.to_ascii_lowercase().contains("sec-websocket-extensions"), "{response}");
        Self(stream)
    }

    /// Sends all of it; a server that has closed need not read it.
    async fn send(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes).await);
    }

    async fn hear(&mut self) -> Said {
        tokio::time::timeout(SOON, self.frame()).await.expect("a frame or the end").unwrap_or(Said::End)
    }

    /// The next frame; none at the connection's end.
    async fn frame(&mut self) -> Option<Said> {
        let mut two = [0; 2];
        self.0.read_exact(&mut two).await.ok()?;
        assert_eq!(two[1] & 0x80, 0, "a server does not mask");
        assert_eq!(two[0] & 0x70, 0, "no extension was agreed on");
        let length = match two[1] {
            126 => usize::from(self.0.read_u16().await.ok()?),
            127 => usize::try_from(self.0.read_u64().await.ok()?).unwrap(),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        assert_eq!(two[0] & FIN, FIN, "the door does not fragment");
        Some(match two[0] & 0x0f {
            TEXT => Said::Text(String::from_utf8(payload).expect("UTF-8")),
            PONG => Said::Pong(payload),
            CLOSE => Said::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            other => panic!("the server sent opcode {other}"),
        })
    }

    /// The code the server closes with, whatever it says before.
    async fn closing(&mut self) -> Option<u16> {
        loop {
            match self.hear().await {
                Said::Close(code) => return code,
                Said::End => panic!("the connection ended without a close"),
                Said::Text(_) | Said::Pong(_) => {}
            }
        }
    }

    /// The socket works: a command of the door is answered next.
    async fn assert_open(&mut self, case: &str) {
        self.send(&frame(FIN | TEXT, ask("still").as_bytes())).await;
        assert_eq!(self.hear().await, Said::Text(answer("still")), "{case}");
    }
}

/// Each of these ends a socket of any route with this code.
async fn assert_all_close(cases: Vec<(String, Vec<u8>, u16)>) {
    assert_close_at(&ROUTES, cases).await;
}

async fn assert_close_at(routes: &[&str], cases: Vec<(String, Vec<u8>, u16)>) {
    for route in routes {
        let live = Live::new().await;
        for (case, bytes, code) in &cases {
            let mut raw = Raw::open_at(&live, route).await;
            raw.send(bytes).await;
            assert_eq!(raw.closing().await, Some(*code), "{route}: {case}");
            raw.send(&close(*code, b"")).await;
            assert_eq!(raw.hear().await, Said::End, "{route}: {case}: the server hangs up first");
        }
    }
}

#[tokio::test]
async fn messages_of_every_length_arrive_however_they_are_cut_on_the_way() {
    let live = Live::new().await;
    for length in [0, 1, 125, 126, 127, 128, 0xffff, 0x1_0000, WS_FRAME_BYTES] {
        let mut raw = Raw::open(&live).await;
        raw.send(&frame(FIN | TEXT, &vec![b'*'; length])).await;
        let Said::Text(text) = raw.hear().await else { panic!("{length} bytes: no answer") };
        assert!(text.contains("invalid_request"), "{length} bytes: {text}");
        raw.assert_open(&format!("{length} bytes")).await;
    }
    let mut raw = Raw::open(&live).await;
    raw.0.set_nodelay(true).unwrap();
    for byte in frame(FIN | TEXT, ask("bytewise").as_bytes()) {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.hear().await, Said::Text(answer("bytewise")));
}

#[tokio::test]
async fn binary_messages_are_refused_and_the_socket_stays() {
    let live = Live::new().await;
    let mut raw = Raw::open(&live).await;
    for length in [0, 1, 126, 0x1_0000] {
        raw.send(&frame(FIN | BINARY, &vec![0xfe; length])).await;
        let Said::Text(text) = raw.hear().await else { panic!("{length} bytes: no answer") };
        assert!(text.contains("frames are text"), "{length} bytes: {text}");
    }
    raw.assert_open("after binary").await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_hold() {
    let live = Live::new().await;
    let mut raw = Raw::open(&live).await;
    for payload in [&b""[..], b"Hello", &[0, 0xff, 0xfe, 0xfd], &[0xfe; 125]] {
        raw.send(&frame(FIN | PING, payload)).await;
        assert_eq!(raw.hear().await, Said::Pong(payload.to_vec()));
    }
    // Nobody asked for these.
    raw.send(&frame(FIN | PONG, b"")).await;
    raw.send(&frame(FIN | PONG, b"unsolicited")).await;
    raw.assert_open("after pongs").await;
    // Of several at once at least the last is answered, and none out of order.
    let burst: Vec<u8> = (0..10).flat_map(|n| frame(FIN | PING, &[n])).collect();
    raw.send(&burst).await;
    let mut last = None;
    while last < Some(9) {
        let Said::Pong(payload) = raw.hear().await else { panic!("no pong") };
        assert!(last < payload.first().copied(), "out of order");
        last = payload.first().copied();
    }
    raw.assert_open("after a burst of pings").await;
}

#[tokio::test]
async fn fragments_become_one_message_and_control_frames_may_come_in_between() {
    let live = Live::new().await;
    let text = ask("κόσμε-🌕");
    let text = text.as_bytes();
    let mut raw = Raw::open(&live).await;
    for cut in 1..text.len() {
        raw.send(&[frame(TEXT, &text[..cut]), frame(FIN | CONTINUE, &text[cut..])].concat()).await;
        assert_eq!(raw.hear().await, Said::Text(answer("κόσμε-🌕")), "cut at {cut}, inside characters, too");
    }
    let mut pieces = vec![frame(TEXT, b"")];
    pieces.extend(text.iter().map(|byte| frame(CONTINUE, &[*byte])));
    pieces.push(frame(FIN | CONTINUE, b""));
    raw.send(&pieces.concat()).await;
    assert_eq!(raw.hear().await, Said::Text(answer("κόσμε-🌕")), "byte by byte, empty ones, too");

    raw.send(&[frame(TEXT, &text[..9]), frame(FIN | PING, b"between")].concat()).await;
    assert_eq!(raw.hear().await, Said::Pong(b"between".to_vec()), "answered before the message is whole");
    raw.send(
        &[frame(CONTINUE, &text[9..15]), frame(FIN | PONG, b""), frame(FIN | CONTINUE, &text[15..])].concat(),
    )
    .await;
    assert_eq!(raw.hear().await, Said::Text(answer("κόσμε-🌕")));
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_socket() {
    let text = ask("x");
    let text = text.as_bytes();
    let mut cases = vec![
        ("an unmasked text".to_owned(), bare(FIN | TEXT, text)),
        ("an unmasked ping".into(), bare(FIN | PING, b"")),
        ("an unmasked close".into(), bare(FIN | CLOSE, &[])),
        ("a continuation of nothing".into(), frame(FIN | CONTINUE, text)),
        ("an unfinished continuation of nothing".into(), frame(CONTINUE, text)),
        ("a text within a text".into(), [frame(TEXT, b"a"), frame(FIN | TEXT, text)].concat()),
        ("a binary within a text".into(), [frame(TEXT, b"a"), frame(BINARY, text)].concat()),
        (
            "a continuation of a finished text".into(),
            [frame(TEXT, &text[..3]), frame(FIN | CONTINUE, &text[3..]), frame(FIN | CONTINUE, b"")].concat(),
        ),
        ("a ping in fragments".into(), frame(PING, b"")),
        ("a close in fragments".into(), frame(CLOSE, &[])),
        ("a ping too long".into(), frame(FIN | PING, &[0xfe; 126])),
        ("a pong too long".into(), frame(FIN | PONG, &[0xfe; 126])),
        ("a close too long".into(), close(1000, &[b'*'; 124])),
        ("a close with half a code".into(), frame(FIN | CLOSE, &[3])),
    ];
    for opcode in (3..=7).chain(11..=15) {
        cases.push((format!("reserved opcode {opcode}"), frame(FIN | opcode, b"")));
        cases.push((format!("reserved opcode {opcode} with a payload"), frame(FIN | opcode, b"xyz")));
    }
    for bit in RESERVED {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            cases.push((format!("reserved bit {bit:#x} on opcode {opcode}"), frame(FIN | bit | opcode, b"")));
        }
        cases.push((
            format!("reserved bit {bit:#x} on a continuation"),
            [frame(TEXT, b"a"), frame(FIN | bit | CONTINUE, b"b")].concat(),
        ));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535] {
        cases.push((format!("close code {code}"), close(code, b"")));
    }
    assert_all_close(cases.into_iter().map(|(case, bytes)| (case, bytes, PROTOCOL_ERROR)).collect()).await;
}

#[tokio::test]
async fn what_is_not_utf8_ends_the_socket() {
    let mut cases = Vec::new();
    for bad in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce",
    ] {
        let text = [&b"ok"[..], bad].concat();
        cases.push((format!("{bad:x?} in one frame"), frame(FIN | TEXT, &text), NOT_UTF8));
        let cut = [frame(TEXT, b"ok"), frame(CONTINUE, bad), frame(FIN | CONTINUE, b"")].concat();
        cases.push((format!("{bad:x?} in a fragment"), cut, NOT_UTF8));
        cases.push((format!("{bad:x?} in a reason"), close(1000, bad), NOT_UTF8));
    }
    assert_all_close(cases).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_nothing_after_it() {
    let live = Live::new().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = Raw::open(&live).await;
        raw.send(&close(code, "κόσμε".as_bytes())).await;
        assert_eq!((raw.hear().await, raw.hear().await), (Said::Close(Some(code)), Said::End), "{code}");
    }
    let mut raw = Raw::open(&live).await;
    raw.send(&frame(FIN | CLOSE, &[])).await;
    assert_eq!((raw.hear().await, raw.hear().await), (Said::Close(None), Said::End), "without a code");

    let mut raw = Raw::open(&live).await;
    let late =
        [close(1000, b""), frame(FIN | TEXT, ask("late").as_bytes()), frame(FIN | PING, b"late")].concat();
    raw.send(&late).await;
    assert_eq!((raw.hear().await, raw.hear().await), (Said::Close(Some(1000)), Said::End), "frames after it");
}

#[tokio::test]
async fn what_is_too_large_ends_the_socket_before_it_is_read() {
    let whole = WS_FRAME_BYTES as u64;
    let fragments = WS_MESSAGE_BYTES / WS_FRAME_BYTES;
    let mut message = frame(TEXT, &vec![b'*'; WS_FRAME_BYTES]);
    for _ in 1..fragments {
        message.extend(frame(CONTINUE, &vec![b'*'; WS_FRAME_BYTES]));
    }
    message.extend(frame(FIN | CONTINUE, b"*"));
    let too_long = vec![
        ("a frame one byte too long".to_owned(), head(FIN | TEXT, whole + 1), TOO_LARGE),
        ("a binary frame too long".into(), head(FIN | BINARY, whole + 1), TOO_LARGE),
    ];
    // The doors' own bounds differ; these are past all of them.
    let vast = vec![
        ("a frame of four gigabytes".to_owned(), head(FIN | TEXT, 1 << 32), TOO_LARGE),
        ("a frame of half of all bytes".into(), head(FIN | TEXT, (1 << 63) - 1), TOO_LARGE),
    ];
    assert_all_close(vast).await;
    assert_close_at(&ROUTES[..1], too_long).await;
    // Others take a quarter of this, and the rest would still be on its way when they hang up.
    let message = vec![("a message one byte too long".to_owned(), message, TOO_LARGE)];
    assert_close_at(&ROUTES[..1], message).await;
}
