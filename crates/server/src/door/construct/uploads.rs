//! Files a client sends before the message that uses them. What is known of one is a blob too, and its hash is
//! the file's id: nothing of it is kept in memory, and an id nobody was given cannot be guessed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use moongate_core::{Caller, Ids, Store, StoreError};
use moongate_protocol::{BlobHash, BlobRef, Part, Principal, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::{frames::Problem, id::ChatId, problems::plain};

/// What a file's id begins with.
const PREFIX: &str = "file_";
/// Files of one message.
const FILES: usize = 16;
/// Images of one message.
const IMAGES: usize = 4;
/// Bytes of one image.
const IMAGE_BYTES: u64 = 5 << 20;
/// Characters of a text file that a model is shown.
const TEXT_CHARS: usize = 200_000;
/// Longest file name that is kept, in characters.
const NAME_CHARS: usize = 200;
/// Sessions whose uploads are counted; past it the count begins anew.
const SESSIONS: usize = 10_000;

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Upload {
    tenant: Tenant,
    principal: Principal,
    pub(super) session: String,
    pub(super) filename: String,
    pub(super) size: u64,
    pub(super) mime: String,
    pub(super) created_at: Timestamp,
    blob: BlobHash,
    /// Makes the id one that cannot be guessed.
    nonce: u128,
}

/// Bytes uploaded to each session since the start.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<(Principal, ChatId), u64>>);

impl Quotas {
    /// Whether so many bytes more fit; they count from then on.
    pub(super) fn take(&self, whose: (Principal, ChatId), bytes: u64, most: u64) -> bool {
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if quotas.len() >= SESSIONS && !quotas.contains_key(&whose) {
            quotas.clear();
        }
        let used = quotas.entry(whose).or_default();
        let fits = used.saturating_add(bytes) <= most;
        if fits {
            *used += bytes;
        }
        fits
    }

    /// Forgets a session's uploads.
    pub(super) fn forget(&self, whose: &(Principal, ChatId)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(whose);
    }
}

/// A file's name as it is shown: the last part of a path, without control characters.
pub(super) fn clean_filename(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
    let visible = visible.trim();
    if visible.is_empty() || visible == "." || visible == ".." {
        "file".to_owned()
    } else {
        visible.to_owned()
    }
}

/// Keeps a file; its id, and what is known of it.
pub(super) async fn keep(
    store: &dyn Store,
    caller: &Caller,
    ids: &Ids,
    session: &ChatId,
    file: (String, Bytes),
) -> Result<(String, Upload), StoreError> {
    let (filename, bytes) = file;
    let upload = Upload {
        tenant: caller.tenant().clone(),
        principal: caller.principal().clone(),
        session: session.to_string(),
        filename,
        size: bytes.len() as u64,
        mime: media_type(&bytes).to_owned(),
        created_at: ids.now(),
        blob: store.put_blob(bytes).await?,
        nonce: u128::from_be_bytes(ids.random()),
    };
    let record = serde_json::to_vec(&upload).map_err(|error| StoreError::Engine(error.to_string()))?;
    let id = store.put_blob(record.into()).await?;
    Ok((format!("{PREFIX}{id}"), upload))
}

/// What is known of a file of this caller.
pub(super) async fn find(store: &dyn Store, caller: &Caller, id: &str) -> Result<Option<Upload>, StoreError> {
    let hash: Option<BlobHash> = id.strip_prefix(PREFIX).and_then(|hash| hash.parse().ok());
    let Some(hash) = hash else { return Ok(None) };
    let Some(record) = store.blob(hash).await? else { return Ok(None) };
    let upload: Option<Upload> = serde_json::from_slice(&record).ok();
    Ok(upload.filter(|upload| upload.tenant == *caller.tenant() && upload.principal == *caller.principal()))
}

/// The parts a message's files are for the model.
pub(super) async fn parts(
    store: &dyn Store,
    caller: &Caller,
    session: &ChatId,
    ids: &[String],
) -> Result<Vec<Part>, Problem> {
    let limit = |message: String| plain("ATTACHMENT_LIMIT", message);
    if ids.len() > FILES {
        return Err(limit(format!("A message has at most {FILES} attachments")));
    }
    let failed = |_| plain("STORAGE_ERROR", "The attachments could not be read.");
    let (mut parts, mut missing, mut images) = (Vec::new(), Vec::new(), 0);
    for id in ids {
        let upload = find(store, caller, id).await.map_err(failed)?;
        let Some(upload) = upload.filter(|upload| upload.session == session.as_str()) else {
            let shown: String = id.chars().filter(|c| c.is_ascii_graphic()).take(80).collect();
            missing.push(shown);
            continue;
        };
        if upload.is_image() {
            images += 1;
            if images > IMAGES || upload.size > IMAGE_BYTES {
                return Err(limit(format!(
                    "A message has at most {IMAGES} images of at most {} MiB",
                    IMAGE_BYTES >> 20
                )));
            }
        }
        parts.push(upload.part(store).await.map_err(failed)?);
    }
    if missing.is_empty() {
        return Ok(parts);
    }
    Err(plain("ATTACHMENT_NOT_FOUND", format!("There are no such attachments: {}", missing.join(", "))))
}

impl Upload {
    fn is_image(&self) -> bool {
        self.mime.starts_with("image/")
    }

    async fn part(self, store: &dyn Store) -> Result<Part, StoreError> {
        let blob = BlobRef { hash: self.blob, media_type: self.mime.clone(), bytes: self.size };
        if self.is_image() {
            return Ok(Part::Image { blob });
        }
        if !self.mime.starts_with("text/") {
            let note = format!("[Attached file: {}, {} bytes, {}]", self.filename, self.size, self.mime);
            return note_part(store, self.filename, note).await;
        }
        let bytes = store.blob(self.blob).await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut chars = text.char_indices();
        let Some((cut, _)) = chars.nth(TEXT_CHARS) else {
            return Ok(Part::File { name: self.filename, blob });
        };
        let cut = format!("{}\n[… cut: the file has {} bytes]", &text[..cut], self.size);
        note_part(store, self.filename, cut).await
    }
}

/// A file whose content is this text.
async fn note_part(store: &dyn Store, name: String, text: String) -> Result<Part, StoreError> {
    let bytes = text.len() as u64;
    let hash = store.put_blob(text.into()).await?;
    Ok(Part::File { name, blob: BlobRef { hash, media_type: "text/plain".into(), bytes } })
}

/// A file's media type, by its content: an image's, a text's, or any other.
fn media_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ if !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok() => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_last_part_of_a_path() {
        for (name, clean) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\y.png", "y.png"),
            ("a\u{0}b\n", "ab"),
            ("..", "file"),
            ("x/", "file"),
        ] {
            assert_eq!(clean_filename(name), clean);
        }
        assert_eq!(clean_filename(&"ä".repeat(500)).chars().count(), NAME_CHARS);
    }

    #[test]
    fn types_are_what_the_bytes_say() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n.."), "image/png");
        assert_eq!(media_type(b"RIFF0000WEBPVP8"), "image/webp");
        assert_eq!(media_type("hällo".as_bytes()), "text/plain");
        assert_eq!(media_type(b"\x89PN"), "application/octet-stream");
        assert_eq!(media_type(b"a\0b"), "application/octet-stream");
    }

    #[test]
    fn a_sessions_uploads_have_a_bound() {
        let quotas = Quotas::default();
        let whose = || ("bob".parse().unwrap(), "s".parse().unwrap());
        assert!(quotas.take(whose(), 60, 100));
        assert!(!quotas.take(whose(), 60, 100));
        assert!(quotas.take(whose(), 40, 100));
        quotas.forget(&whose());
        assert!(quotas.take(whose(), 100, 100));
    }
}
