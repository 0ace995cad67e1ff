//! As much of an HTTP/1.1 client as measuring needs: one connection, kept alive, its bodies read as they come.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Room for one read.
const READ: usize = 16 * 1024;
/// Most bytes of an answer's head.
const HEAD_MOST: usize = 64 * 1024;

/// A connection with at most one request under way.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Received, not yet looked at.
    input: BytesMut,
    body: Framing,
    closes: bool,
}

/// What is sent.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Whole lines, each with its end.
    pub(crate) headers: &'a str,
    pub(crate) body: &'a str,
}

/// How much of the answer's body is still to come.
enum Framing {
    Chunked(Chunked),
    Length(usize),
}

/// Where a chunked body stands.
#[derive(Default)]
struct Chunked {
    /// Bytes of the current chunk still to come.
    left: usize,
    /// The line end after a chunk is still to come.
    between: bool,
    ended: bool,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let body = Framing::Length(0);
        Ok(Self { stream, input: BytesMut::with_capacity(READ), body, closes: false })
    }

    /// Sends a request and reads the answer's head; gives the status.
    pub(crate) async fn send(&mut self, request: &Request<'_>) -> Result<u16> {
        let Request { method, path, headers, body } = request;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(head.as_bytes()).await?;
        let end = loop {
            self.fill().await?;
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n\r\n") {
                break end + 4;
            }
            if self.input.len() > HEAD_MOST {
                return Err(invalid("an answer's head without an end"));
            }
        };
        let head = self.input.split_to(end);
        self.take_head(&head)
    }

    /// Appends what has come of the body to `out`, waiting for some; false when all of it has been given.
    pub(crate) async fn read(&mut self, out: &mut BytesMut) -> Result<bool> {
        let before = out.len();
        loop {
            let ended = self.body.take(&mut self.input, out)?;
            if out.len() > before {
                return Ok(true);
            }
            if ended {
                return Ok(false);
            }
            self.fill().await?;
        }
    }

    /// Reads the rest of the body.
    pub(crate) async fn read_all(&mut self) -> Result<BytesMut> {
        let mut all = BytesMut::new();
        while self.read(&mut all).await? {}
        Ok(all)
    }

    /// Whether another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.closes && self.body.is_over()
    }

    async fn fill(&mut self) -> Result<()> {
        self.input.reserve(READ);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn take_head(&mut self, head: &[u8]) -> Result<u16> {
        let head = str::from_utf8(head).map_err(|_| invalid("a head that is not text"))?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        self.body = Framing::Length(0);
        self.closes = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| invalid("a length that is no number"))?;
                self.body = Framing::Length(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                self.body = Framing::Chunked(Chunked::default());
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            }
        }
        status.ok_or_else(|| invalid("a head without a status"))
    }
}

impl Framing {
    /// Moves body bytes from `input` to `out`; true at the body's end.
    fn take(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool> {
        match self {
            Self::Chunked(chunked) => chunked.take(input, out),
            Self::Length(left) => {
                move_bytes(left, input, out);
                Ok(*left == 0)
            }
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Chunked(chunked) => chunked.ended,
            Self::Length(left) => *left == 0,
        }
    }
}

impl Chunked {
    fn take(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool> {
        while !self.ended {
            if self.left > 0 {
                move_bytes(&mut self.left, input, out);
                if self.left > 0 {
                    return Ok(false);
                }
                self.between = true;
            }
            if self.between {
                if input.len() < 2 {
                    return Ok(false);
                }
                input.advance(2);
                self.between = false;
            }
            let Some(end) = memchr::memchr(b'\n', input) else { return Ok(false) };
            let size = str::from_utf8(&input[..end]).ok();
            let size = size.and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            self.left = size.ok_or_else(|| invalid("a chunk without a size"))?;
            // The last chunk is followed by an empty line: nobody here sends trailers.
            let line = if self.left == 0 { end + 3 } else { end + 1 };
            if input.len() < line {
                return Ok(false);
            }
            input.advance(line);
            self.ended = self.left == 0;
        }
        Ok(true)
    }
}

fn move_bytes(left: &mut usize, input: &mut BytesMut, out: &mut BytesMut) {
    let count = (*left).min(input.len());
    out.extend_from_slice(&input[..count]);
    input.advance(count);
    *left -= count;
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_cut() {
        let wire = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\nrest";
        for cut in 0..wire.len() {
            let (mut chunked, mut input, mut out) = (Chunked::default(), BytesMut::new(), BytesMut::new());
            let mut ended = false;
            for part in [&wire[..cut], &wire[cut..]] {
                input.extend_from_slice(part);
                ended = chunked.take(&mut input, &mut out).unwrap();
            }
            assert!(ended, "cut at {cut}");
            assert_eq!(&out[..], b"hello, world", "cut at {cut}");
            assert_eq!(&input[..], b"rest", "what follows the body is left alone");
        }
    }

    #[test]
    fn a_chunk_without_a_size_is_an_error() {
        let mut input = BytesMut::from(&b"xyz\r\n"[..]);
        assert!(Chunked::default().take(&mut input, &mut BytesMut::new()).is_err());
    }
}
