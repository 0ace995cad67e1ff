//! An answer's body, decoded as it comes, in bounded memory.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use http::{HeaderMap, header};

/// Bytes that are decoded between two looks at how much there is.
const STEP_BYTES: usize = 4 * 1024;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
}

impl Coding {
    /// What the headers say; nothing when it is a coding nobody asked for.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
        match (all.next().map(|value| value.as_bytes().to_ascii_lowercase()), all.next()) {
            (None, _) => Some(Self::Plain),
            (Some(name), None) if name == b"identity" => Some(Self::Plain),
            (Some(name), None) if name == b"gzip" || name == b"x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// A body that is being read.
pub(super) struct Body {
    way: Way,
    /// Bytes as they came over the network.
    came: usize,
    most: usize,
}

enum Way {
    Plain(Kept),
    Gzip(Box<GzDecoder<Kept>>),
}

/// The beginning of what is written.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    most: usize,
    is_cut: bool,
}

impl Body {
    /// A body of which at most so many bytes are kept, and at most so many read.
    pub(super) fn new(coding: Coding, most: usize) -> Self {
        let kept = Kept { most, ..Kept::default() };
        let way = match coding {
            Coding::Plain => Way::Plain(kept),
            Coding::Gzip => Way::Gzip(Box::new(GzDecoder::new(kept))),
        };
        Self { way, came: 0, most }
    }

    /// Takes in what came.
    ///
    /// # Errors
    /// When it is not coded as it says.
    pub(super) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.came += piece.len();
        for step in piece.chunks(STEP_BYTES) {
            if self.is_full() {
                break;
            }
            match &mut self.way {
                Way::Plain(kept) => kept.write_all(step)?,
                Way::Gzip(decoder) => decoder.write_all(step)?,
            }
        }
        Ok(())
    }

    /// Whether more is not read.
    pub(super) fn is_full(&self) -> bool {
        self.kept().is_cut || self.came > self.most
    }

    /// What was kept, and whether there was more.
    ///
    /// # Errors
    /// When it ends in the middle of its coding.
    pub(super) fn finish(self) -> io::Result<(Vec<u8>, bool)> {
        let is_full = self.is_full();
        let kept = match self.way {
            Way::Plain(kept) => kept,
            // In the middle there is no end to be found.
            Way::Gzip(mut decoder) if is_full => std::mem::take(decoder.get_mut()),
            Way::Gzip(decoder) => decoder.finish()?,
        };
        Ok((kept.bytes, is_full))
    }

    fn kept(&self) -> &Kept {
        match &self.way {
            Way::Plain(kept) => kept,
            Way::Gzip(decoder) => decoder.get_ref(),
        }
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
