//! Images and files, as the provider at hand can take them: natively, as text, or as a note.

use std::{borrow::Cow, fmt};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use moongate_core::ModelRequest;
use moongate_protocol::{BlobRef, Part};
use serde::{Serialize, Serializer};

use crate::config::Quirks;

/// Image types every provider that takes images takes.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// File types that are shown to the model as text.
const TEXT_TYPES: [&str; 9] = [
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/javascript",
    "application/sql",
    "application/x-sh",
    "application/x-ndjson",
];

/// A part of a user message or a tool's result, ready to be written.
pub(crate) enum Media<'a> {
    /// Text, or what stands for something the provider does not take.
    Text(Cow<'a, str>),
    /// An image.
    Image {
        /// Its type.
        media_type: &'a str,
        /// Its bytes.
        bytes: &'a Bytes,
    },
    /// A PDF file.
    File {
        /// Its name.
        name: &'a str,
        /// Its type.
        media_type: &'a str,
        /// Its bytes.
        bytes: &'a Bytes,
    },
}

/// The parts as media. Never empty: a message has to say something.
pub(crate) fn read_parts<'a>(
    parts: &'a [Part],
    request: &'a ModelRequest,
    quirks: &Quirks,
) -> Vec<Media<'a>> {
    let mut media: Vec<_> = parts.iter().filter_map(|part| read(part, request, quirks)).collect();
    if media.is_empty() {
        media.push(Media::Text(Cow::Borrowed("(empty)")));
    }
    media
}

fn read<'a>(part: &'a Part, request: &'a ModelRequest, quirks: &Quirks) -> Option<Media<'a>> {
    Some(match part {
        Part::Text { text } if text.trim().is_empty() => return None,
        Part::Text { text } => Media::Text(Cow::Borrowed(text)),
        Part::Image { blob } => image(blob, request, quirks).unwrap_or_else(|| note("image", blob)),
        Part::File { name, blob } => {
            file(name, blob, request, quirks).unwrap_or_else(|| note(&format!("file {name:?}"), blob))
        }
        // A result is a message of its own long before.
        Part::Reasoning { .. } | Part::ToolCall { .. } | Part::ToolResult { .. } => return None,
    })
}

fn image<'a>(blob: &'a BlobRef, request: &'a ModelRequest, quirks: &Quirks) -> Option<Media<'a>> {
    let known = quirks.images && IMAGE_TYPES.contains(&blob.media_type.as_str());
    let bytes = request.attachments.get(&blob.hash)?;
    known.then_some(Media::Image { media_type: &blob.media_type, bytes })
}

fn file<'a>(
    name: &'a str,
    blob: &'a BlobRef,
    request: &'a ModelRequest,
    quirks: &Quirks,
) -> Option<Media<'a>> {
    let bytes = request.attachments.get(&blob.hash)?;
    let media_type = blob.media_type.as_str();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.starts_with("text/") || TEXT_TYPES.contains(&essence) || essence.ends_with("+json") {
        let text = std::str::from_utf8(bytes).ok()?;
        return Some(Media::Text(Cow::Owned(format!("File {name:?}:\n\n{text}"))));
    }
    if quirks.files && essence == "application/pdf" {
        return Some(Media::File { name, media_type: "application/pdf", bytes });
    }
    image(blob, request, quirks)
}

fn note(what: &str, blob: &BlobRef) -> Media<'static> {
    let text = format!("[{what}, {}, {} bytes: this model cannot be shown it]", blob.media_type, blob.bytes);
    Media::Text(Cow::Owned(text))
}

/// The text parts, joined by blank lines; borrowed when there is only one. Empty when there is none.
pub(crate) fn text_of(parts: &[Part]) -> Cow<'_, str> {
    let mut texts = parts.iter().filter_map(Part::as_text).filter(|text| !text.trim().is_empty());
    let Some(first) = texts.next() else { return Cow::Borrowed("") };
    texts.fold(Cow::Borrowed(first), |all, text| Cow::Owned(format!("{all}\n\n{text}")))
}

/// Bytes in base64, written without an intermediate copy.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Bytes as a `data:` URL, written without an intermediate copy.
pub(crate) struct DataUrl<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl fmt::Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:{};base64,{}", self.media_type, Base64Display::new(self.bytes, &STANDARD))
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
