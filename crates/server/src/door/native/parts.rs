//! What a client says, with its images and files: the bytes go to the blob store, the log keeps their hash.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use moongate_core::{Refusal, SessionHandle, Store, limits::READ_BATCH};
use moongate_protocol::{
    BlobHash, BlobRef, Effort, ErrorCode, Event, Metadata, ModelName, NewInput, Overlap, Overrides, Part, Seq,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    limits::JSON_BODY_BYTES,
    reply::{Answer, Failure},
};

/// Longest media type.
const MEDIA_TYPE_BYTES: usize = 127;
/// Longest name of a file.
const FILE_NAME_BYTES: usize = 255;

/// What a user says: `text` or `parts`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputBody<'a> {
    /// A text.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    /// Texts, images and files.
    #[serde(borrow)]
    parts: Option<Vec<InputPart<'a>>>,
    /// How it meets a running turn.
    #[serde(default)]
    overlap: Overlap,
    /// Another model, for this turn.
    model: Option<ModelName>,
    /// How much to think, in this turn.
    effort: Option<Effort>,
    /// Sampling temperature, 0 to 2, in this turn.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// Most tokens an answer may have, in this turn.
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    /// How long a person may take to decide on one of this turn's calls, in seconds.
    #[schema(minimum = 1)]
    approval_secs: Option<u32>,
    /// Labels.
    #[serde(default)]
    metadata: Metadata,
}

/// A piece of what a user says. An image or file has either `data` with its `media_type`, or the `blob` of one
/// this session has already.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields, try_from = "SaidPart<'a>")]
enum InputPart<'a> {
    /// Text.
    Text {
        /// The text.
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    /// An image.
    Image {
        /// IANA media type of `data`.
        #[serde(borrow)]
        media_type: Option<Cow<'a, str>>,
        /// The bytes, in base64.
        #[serde(borrow)]
        data: Option<Cow<'a, str>>,
        /// An image the session has already.
        blob: Option<BlobRef>,
    },
    /// A file.
    File {
        /// The name to show.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// IANA media type of `data`.
        #[serde(borrow)]
        media_type: Option<Cow<'a, str>>,
        /// The bytes, in base64.
        #[serde(borrow)]
        data: Option<Cow<'a, str>>,
        /// A file the session has already.
        blob: Option<BlobRef>,
    },
}

/// A part as it is read: an enum told apart by a field is also read from a list, and loses the place of what is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidPart<'a> {
    #[serde(rename = "type")]
    kind: PartKind,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    blob: Option<BlobRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartKind {
    Text,
    Image,
    File,
}

impl<'a> TryFrom<SaidPart<'a>> for InputPart<'a> {
    type Error = &'static str;

    fn try_from(said: SaidPart<'a>) -> Result<Self, &'static str> {
        match said {
            SaidPart {
                kind: PartKind::Text,
                text: Some(text),
                name: None,
                media_type: None,
                data: None,
                blob: None,
            } => Ok(Self::Text { text }),
            SaidPart { kind: PartKind::Text, .. } => Err("a text has `text` and nothing else"),
            SaidPart { kind: PartKind::Image, text: None, name: None, media_type, data, blob } => {
                Ok(Self::Image { media_type, data, blob })
            }
            SaidPart { kind: PartKind::Image, .. } => Err("an image has no `text` and no `name`"),
            SaidPart { kind: PartKind::File, text: None, name: Some(name), media_type, data, blob } => {
                Ok(Self::File { name, media_type, data, blob })
            }
            SaidPart { kind: PartKind::File, .. } => Err("a file has a `name` and no `text`"),
        }
    }
}

/// Where the bytes of a part come from.
struct Source<'a> {
    media_type: Option<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
    blob: Option<BlobRef>,
}

impl<'a> InputBody<'a> {
    /// The input, its bytes put into the store. `size` is the body's.
    pub(crate) async fn into_input(
        self,
        session: &SessionHandle,
        store: &dyn Store,
        size: usize,
    ) -> Answer<NewInput> {
        let parts = match (self.text, self.parts) {
            (Some(text), None) => vec![Part::text(text)],
            (None, Some(parts)) => {
                let carries_files = parts.iter().any(InputPart::has_data);
                require_size(size, carries_files)?;
                keep_all(parts, session, store).await?
            }
            _ => return Err(Failure::invalid("send text or parts, one of them")),
        };
        require_size(size, parts.iter().any(|part| !matches!(part, Part::Text { .. })))?;
        let overrides = Overrides {
            model: self.model,
            effort: self.effort,
            temperature: self.temperature,
            max_output_tokens: self.max_output_tokens,
            approval_secs: self.approval_secs,
            ..Overrides::default()
        };
        let (overlap, metadata) = (self.overlap, self.metadata);
        Ok(NewInput { parts, overlap, overrides, metadata, ..NewInput::default() })
    }
}

impl InputPart<'_> {
    fn has_data(&self) -> bool {
        matches!(self, Self::Image { data: Some(_), .. } | Self::File { data: Some(_), .. })
    }
}

/// Only files may be large.
fn require_size(size: usize, carries_files: bool) -> Answer<()> {
    if size <= JSON_BODY_BYTES || carries_files {
        return Ok(());
    }
    let message = format!("a body without files has at most {JSON_BODY_BYTES} bytes");
    Err(Failure::new(ErrorCode::TooLarge, message))
}

async fn keep_all(
    parts: Vec<InputPart<'_>>,
    session: &SessionHandle,
    store: &dyn Store,
) -> Answer<Vec<Part>> {
    if parts.len() > moongate_core::limits::INPUT_PARTS {
        let message = format!("an input has at most {} parts", moongate_core::limits::INPUT_PARTS);
        return Err(Failure::new(ErrorCode::TooLarge, message));
    }
    let mut kept = Vec::with_capacity(parts.len());
    for (at, part) in parts.into_iter().enumerate() {
        kept.push(match part {
            InputPart::Text { text } => Part::text(text),
            InputPart::Image { media_type, data, blob } => {
                let blob = keep(at, Source { media_type, data, blob }, session, store).await?;
                if !blob.media_type.starts_with("image/") {
                    return Err(Failure::field(format!("parts[{at}].media_type"), "an image is image/…"));
                }
                Part::Image { blob }
            }
            InputPart::File { name, media_type, data, blob } => {
                let fits =
                    !name.is_empty() && name.len() <= FILE_NAME_BYTES && !name.contains(char::is_control);
                if !fits {
                    let message =
                        format!("a name has 1 to {FILE_NAME_BYTES} bytes and no control characters");
                    return Err(Failure::field(format!("parts[{at}].name"), message));
                }
                let blob = keep(at, Source { media_type, data, blob }, session, store).await?;
                Part::File { name: name.into_owned(), blob }
            }
        });
    }
    Ok(kept)
}

async fn keep(at: usize, source: Source<'_>, session: &SessionHandle, store: &dyn Store) -> Answer<BlobRef> {
    match source {
        Source { media_type: Some(media_type), data: Some(data), blob: None } => {
            if !is_media_type(&media_type) {
                let message = "it is a media type as in image/png";
                return Err(Failure::field(format!("parts[{at}].media_type"), message));
            }
            let bytes = STANDARD
                .decode(data.as_bytes())
                .map_err(|_| Failure::field(format!("parts[{at}].data"), "it is padded base64"))?;
            if bytes.is_empty() {
                return Err(Failure::field(format!("parts[{at}].data"), "it is empty"));
            }
            let count = bytes.len() as u64;
            let hash = store.put_blob(Bytes::from(bytes)).await?;
            Ok(BlobRef { hash, media_type: media_type.into_owned(), bytes: count })
        }
        // Only what the session's own log holds: a hash alone opens nothing.
        Source { media_type: None, data: None, blob: Some(asked) } => find(session, asked.hash)
            .await?
            .ok_or_else(|| Failure::field(format!("parts[{at}].blob"), "this session has no such blob")),
        _ => {
            let message = "send data with its media_type, or the blob of one this session has";
            Err(Failure::field(format!("parts[{at}]"), message))
        }
    }
}

/// A blob some event of the session's log refers to.
pub(super) async fn find(session: &SessionHandle, hash: BlobHash) -> Result<Option<BlobRef>, Refusal> {
    let name = hash.to_string();
    let needle = memchr::memmem::Finder::new(&name);
    let mut after = Seq::ZERO;
    loop {
        let records = session.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Ok(None) };
        after = last.position().seq;
        // A text that only mentions the hash refers to nothing: the typed form decides.
        for record in records.iter().filter(|record| needle.find(record.json()).is_some()) {
            let found = record.envelope().ok().and_then(|envelope| blob_in(&envelope.event, hash));
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

/// Whether an event refers to attachments.
pub(super) fn holds_blobs(event: &Event) -> bool {
    blobs_of(event).next().is_some()
}

/// A part, or the parts of a result.
fn within(part: &Part) -> &[Part] {
    match part {
        Part::ToolResult { content, .. } => content,
        other => std::slice::from_ref(other),
    }
}

fn blob_in(event: &Event, hash: BlobHash) -> Option<BlobRef> {
    blobs_of(event).find(|blob| blob.hash == hash).cloned()
}

fn blobs_of(event: &Event) -> impl Iterator<Item = &BlobRef> {
    let parts: &[Part] = match event {
        Event::InputAccepted(input) => &input.parts,
        Event::MessageCompleted(message) => &message.parts,
        Event::ToolFinished(finished) => &finished.content,
        _ => &[],
    };
    let output = match event {
        Event::ToolFinished(finished) => finished.output.as_ref(),
        _ => None,
    };
    let attached = parts.iter().flat_map(within).filter_map(|part| match part {
        Part::Image { blob } | Part::File { blob, .. } => Some(blob),
        _ => None,
    });
    attached.chain(output)
}

/// `type/subtype` of the characters a header may carry; without parameters.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !text.is_empty() && text.bytes().all(allowed)
    };
    text.len() <= MEDIA_TYPE_BYTES
        && text.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}
