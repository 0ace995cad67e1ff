//! Files a client sends before the message that uses them.

use bytes::Bytes;
use moongate_core::{Caller, Refusal, Store, StoreError, Upload, UploadPlace, limits::UPLOAD_WAIT};
use moongate_protocol::{BlobRef, FileId, Part};

use super::{Construct, chats::alias, frames::Problem, id::ChatId, problems::plain};
use crate::door::shared::{Dialect as _, Door};

/// Files of one message.
const FILES: usize = 16;
/// Images of one message.
const IMAGES: usize = 4;
/// Bytes of one image.
const IMAGE_BYTES: usize = 5 << 20;
/// Characters of a text file that a model is shown.
const TEXT_CHARS: usize = 200_000;
/// Bytes that surely hold so many and one more.
const TEXT_BYTES: usize = TEXT_CHARS * 4 + 4;
/// Longest file name that is kept, in characters.
const NAME_CHARS: usize = 200;

/// Where a session's files are.
pub(super) fn place(caller: &Caller, session: &ChatId) -> Result<UploadPlace, Refusal> {
    Ok(UploadPlace {
        tenant: caller.tenant().clone(),
        owner: caller.principal().clone(),
        door: Construct::NAME.into(),
        alias: alias(caller, session)?,
    })
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

impl Door<Construct> {
    /// What is known of a file that may still be used.
    pub(super) async fn upload(&self, place: &UploadPlace, id: &str) -> Result<Option<Upload>, StoreError> {
        let Ok(id) = id.parse::<FileId>() else { return Ok(None) };
        let Some((upload, used)) = self.app().gateway().store().uploads().get(place, id).await? else {
            return Ok(None);
        };
        Ok(Some(upload).filter(|_| used || self.now().since(id.at()) < UPLOAD_WAIT))
    }

    /// The parts a message's files are for the model.
    pub(super) async fn parts(&self, place: &UploadPlace, ids: &[String]) -> Result<Vec<Part>, Problem> {
        let limit = |message: String| plain("ATTACHMENT_LIMIT", message);
        if ids.len() > FILES {
            return Err(limit(format!("A message has at most {FILES} attachments")));
        }
        let failed = |_| plain("STORAGE_ERROR", "The attachments could not be read.");
        let (mut uploads, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            match self.upload(place, id).await.map_err(failed)? {
                Some(upload) => uploads.push(upload),
                None => {
                    missing.push(id.chars().filter(|c| c.is_ascii_graphic()).take(80).collect::<String>());
                }
            }
        }
        if !missing.is_empty() {
            let message = format!("There are no such attachments: {}", missing.join(", "));
            return Err(plain("ATTACHMENT_NOT_FOUND", message));
        }
        let images: Vec<_> = uploads.iter().filter(|upload| is_image(upload)).collect();
        if images.len() > IMAGES || images.iter().any(|image| image.bytes > IMAGE_BYTES as u64) {
            let most = IMAGE_BYTES >> 20;
            return Err(limit(format!("A message has at most {IMAGES} images of at most {most} MiB")));
        }
        let mut parts = Vec::with_capacity(uploads.len());
        for upload in uploads {
            parts.push(part(&**self.app().gateway().store(), place, upload).await.map_err(failed)?);
        }
        Ok(parts)
    }

    /// A message uses these files: they stay as long as their session.
    pub(super) async fn use_uploads(&self, place: &UploadPlace, ids: &[String]) {
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            if let Err(error) = self.app().gateway().store().uploads().mark_used(place, id).await {
                tracing::warn!(%error, "it could not be written down that a file is used");
            }
        }
    }
}

fn is_image(upload: &Upload) -> bool {
    upload.media_type.starts_with("image/")
}

async fn part(store: &dyn Store, place: &UploadPlace, upload: Upload) -> Result<Part, StoreError> {
    let Upload { id, name, media_type, bytes } = upload;
    if media_type.starts_with("image/") {
        let blob = BlobRef {
            hash: store.put_blob(start_of(store, place, id, IMAGE_BYTES).await?).await?,
            media_type,
            bytes,
        };
        return Ok(Part::Image { blob });
    }
    let text = match media_type.starts_with("text/") {
        true => shown(&String::from_utf8_lossy(&start_of(store, place, id, TEXT_BYTES).await?), bytes),
        false => format!("[Attached file: {name}, {bytes} bytes, {media_type}]"),
    };
    let bytes = text.len() as u64;
    let hash = store.put_blob(text.into()).await?;
    Ok(Part::File { name, blob: BlobRef { hash, media_type: "text/plain".into(), bytes } })
}

async fn start_of(
    store: &dyn Store,
    place: &UploadPlace,
    id: FileId,
    most: usize,
) -> Result<Bytes, StoreError> {
    Ok(store.uploads().read(place, id, most).await?.unwrap_or_default())
}

/// What a model is shown of a text that begins so, of a file of so many bytes.
fn shown(start: &str, bytes: u64) -> String {
    match start.char_indices().nth(TEXT_CHARS) {
        Some((cut, _)) => format!("{}\n[… cut: the file has {bytes} bytes]", &start[..cut]),
        None => start.to_owned(),
    }
}

/// Finds out what kind a file is by its content, piece by piece: an image, a text, or any other.
#[derive(Debug)]
pub(super) struct Kind {
    start: Vec<u8>,
    /// Bytes of a character that is not complete yet; nothing once it is no text.
    text: Option<Vec<u8>>,
}

impl Kind {
    pub(super) fn new() -> Self {
        Self { start: Vec::new(), text: Some(Vec::new()) }
    }

    /// Looks at the next piece.
    pub(super) fn look(&mut self, piece: &[u8]) {
        /// Bytes at the beginning that tell.
        const START: usize = 12;
        let more = START.saturating_sub(self.start.len()).min(piece.len());
        self.start.extend_from_slice(&piece[..more]);
        let Some(mut text) = self.text.take() else { return };
        text.extend_from_slice(piece);
        if text.contains(&0) {
            return;
        }
        self.text = match std::str::from_utf8(&text) {
            Ok(_) => Some(Vec::new()),
            Err(error) if error.error_len().is_none() => Some(text.split_off(error.valid_up_to())),
            Err(_) => None,
        };
    }

    /// The media type.
    pub(super) fn media_type(&self) -> &'static str {
        match self.start[..] {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => "image/webp",
            [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
            _ if self.text.as_ref().is_some_and(Vec::is_empty) => "text/plain",
            _ => "application/octet-stream",
        }
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
    fn kinds_are_what_the_bytes_say_however_they_are_cut() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n.."[..], "image/png"),
            (b"RIFF0000WEBPVP8", "image/webp"),
            ("hällo €".as_bytes(), "text/plain"),
            (b"", "text/plain"),
            (b"\x89PN", "application/octet-stream"),
            (b"a\0b", "application/octet-stream"),
            (&"hä".as_bytes()[..2], "application/octet-stream"),
        ] {
            for cut in 0..=bytes.len() {
                let mut kind = Kind::new();
                kind.look(&bytes[..cut]);
                kind.look(&bytes[cut..]);
                assert_eq!(kind.media_type(), expected, "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_where_a_person_can_see_it() {
        let long = "ä".repeat(TEXT_CHARS + 1);
        let shown = shown(&long, 7);
        assert_eq!(shown.chars().take_while(|c| *c == 'ä').count(), TEXT_CHARS);
        assert!(shown.ends_with("\n[… cut: the file has 7 bytes]"));
        assert_eq!(super::shown("a", 1), "a");
    }
}
