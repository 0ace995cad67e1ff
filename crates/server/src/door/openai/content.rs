//! What messages hold: text, images and files, as both of OpenAI's APIs write them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use moongate_core::blob_hash;
use moongate_protocol::{BlobRef, Part};
use serde::Deserialize;

use super::failure::{Fault, Reply};

/// Longest media type, and longest name of a file, in bytes.
const NAME_BYTES: usize = 255;

/// A text, or a list of parts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentPart {
    #[serde(alias = "input_text", alias = "output_text", alias = "summary_text")]
    Text {
        text: String,
    },
    Refusal {
        refusal: String,
    },
    ImageUrl {
        image_url: ImageUrl,
    },
    InputImage {
        image_url: Option<String>,
    },
    File {
        file: FileData,
    },
    InputFile(FileData),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageUrl {
    url: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FileData {
    filename: Option<String>,
    file_data: Option<String>,
}

impl Content {
    /// The content as parts; bytes of images and files are added to `attachments`.
    pub(super) fn into_parts(self, attachments: &mut Vec<Bytes>) -> Reply<Vec<Part>> {
        match self {
            Self::Text(text) => Ok(vec![Part::Text { text }]),
            Self::Parts(parts) => parts.into_iter().map(|part| part.read(attachments)).collect(),
        }
    }

    /// The content's text; there is nothing else in it.
    pub(super) fn into_text(self) -> Reply<String> {
        let mut attachments = Vec::new();
        let parts = self.into_parts(&mut attachments)?;
        if !attachments.is_empty() {
            return Err(Fault::invalid("instructions are text"));
        }
        Ok(Part::join_text(&parts))
    }
}

impl ContentPart {
    fn read(self, attachments: &mut Vec<Bytes>) -> Reply<Part> {
        let elsewhere = |what: &str| {
            Fault::invalid(format!(
                "{what}: send the bytes as a data: URL; this server fetches and keeps none"
            ))
        };
        match self {
            Self::Text { text } | Self::Refusal { refusal: text } => Ok(Part::Text { text }),
            Self::ImageUrl { image_url } => image(&image_url.url, attachments),
            Self::InputImage { image_url: Some(url) } => image(&url, attachments),
            Self::InputImage { image_url: None } => Err(elsewhere("an image")),
            Self::File { file } | Self::InputFile(file) => {
                let data = file.file_data.ok_or_else(|| elsewhere("a file"))?;
                let name = file.filename.unwrap_or_else(|| "file".to_owned());
                if name.is_empty() || name.len() > NAME_BYTES || name.contains(char::is_control) {
                    return Err(Fault::invalid("a file's name has 1 to 255 bytes and no control characters"));
                }
                Ok(Part::File { name, blob: attach(&data, attachments)? })
            }
            Self::Other => Err(Fault::invalid("content has text, images and files only")),
        }
    }
}

fn image(url: &str, attachments: &mut Vec<Bytes>) -> Reply<Part> {
    let blob = attach(url, attachments)?;
    if !blob.media_type.starts_with("image/") {
        return Err(Fault::invalid("an image's data: URL begins with data:image/"));
    }
    Ok(Part::Image { blob })
}

fn attach(url: &str, attachments: &mut Vec<Bytes>) -> Reply<BlobRef> {
    let wrong = || {
        Fault::invalid(
            "images and files come as data:TYPE/SUBTYPE;base64,BYTES: this server fetches nothing by itself",
        )
    };
    let (head, data) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or_else(wrong)?;
    let media_type = head.strip_suffix(";base64").ok_or_else(wrong)?;
    let media_type = media_type.split(';').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/".contains(c);
    if media_type.len() > NAME_BYTES || !media_type.contains('/') || !media_type.chars().all(plain) {
        return Err(wrong());
    }
    let bytes = STANDARD.decode(data.as_bytes()).map_err(|_| wrong())?;
    if bytes.is_empty() {
        return Err(wrong());
    }
    let blob =
        BlobRef { hash: blob_hash(&bytes), media_type: media_type.to_owned(), bytes: bytes.len() as u64 };
    attachments.push(bytes.into());
    Ok(blob)
}
