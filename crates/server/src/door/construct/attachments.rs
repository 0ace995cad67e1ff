//! Uploads: written to the disk piece by piece, their size checked on the way.

use std::time::Duration;

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};
use moongate_core::{Arriving, Scope, Upload};
use moongate_protocol::{FileId, Timestamp};
use multer::{Constraints, Multipart, SizeLimit};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Construct,
    handshake::parse_id,
    reply::{Reply, Trouble},
    sessions::require,
    uploads::{self, Kind, clean_filename},
};
use crate::{caller::Authenticated, door::shared::Door, limits::BODY_RATE, reply::json};

/// Bytes of a body besides the file itself: part headers, and parts that are ignored.
const AROUND_BYTES: u64 = 64 << 10;
/// The part that carries the file.
const FILE: &str = "file";

#[derive(Serialize)]
struct Uploaded {
    file_id: FileId,
    filename: String,
    size: u64,
    mime: String,
    session_id: String,
    created_at: Timestamp,
}

pub(super) async fn upload(
    State(door): State<Door<Construct>>,
    caller: Authenticated,
    Path(id): Path<String>,
    request: Request,
) -> Reply<Response> {
    require(&caller, Scope::SessionsWrite)?;
    let id = parse_id(&id)?;
    let boundary = boundary(request.headers())?;
    let limits = door.settings.limits;
    let stated = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let stated: u64 = stated.and_then(|value| value.parse().ok()).unwrap_or(0);
    if stated > limits.upload_bytes as u64 + AROUND_BYTES {
        return Err(too_large(limits.upload_bytes));
    }
    let id = door.canonical(&caller, id).await?;
    let place = uploads::place(&caller, &id)?;
    let file_id = door.app().gateway().ids().make(FileId::new);
    let store = door.app().gateway().store();
    let arriving = store.uploads().begin().await?;
    let body = File { most: limits.upload_bytes, stall: door.app().limits().body_stall, arriving };
    let (name, kind, bytes, arriving) = body.read(request, boundary).await?;
    let media_type = kind.media_type().to_owned();
    let upload = Upload { id: file_id, name: name.clone(), media_type: media_type.clone(), bytes };
    if !arriving.keep(&place, upload, limits.session_upload_bytes).await? {
        let message = "The uploads of this session are as many bytes as they may";
        return Err(Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message));
    }
    let uploaded = Uploaded {
        file_id,
        filename: name,
        size: bytes,
        mime: media_type,
        session_id: id.to_string(),
        created_at: file_id.at(),
    };
    Ok(json(StatusCode::CREATED, &uploaded))
}

fn boundary(headers: &HeaderMap) -> Reply<String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    multer::parse_boundary(kind).map_err(|_| {
        let message = "Send Content-Type: multipart/form-data";
        Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", message)
    })
}

fn too_large(most: usize) -> Trouble {
    let message = format!("A file has at most {most} bytes");
    Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
}

/// A file on its way from a body to the disk.
struct File {
    /// Bytes it may have.
    most: usize,
    /// How long the body may bring nothing.
    stall: Duration,
    arriving: Box<dyn Arriving>,
}

impl File {
    /// Reads the first part that is the file: its name, its kind, how large it is, and itself.
    async fn read(
        mut self,
        request: Request,
        boundary: String,
    ) -> Reply<(String, Kind, u64, Box<dyn Arriving>)> {
        let most = self.most;
        let limit = SizeLimit::new().whole_stream(most as u64 + AROUND_BYTES);
        let constraints = Constraints::new().size_limit(limit);
        let body = request.into_body().into_data_stream();
        let mut parts = Multipart::with_constraints(body, boundary, constraints);
        let failed = |error: multer::Error| match error {
            multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
                too_large(most)
            }
            _ => broken(),
        };
        let began = Instant::now();
        loop {
            let part = timeout(self.stall, parts.next_field()).await.map_err(|_| broken())?;
            let Some(mut part) = part.map_err(failed)? else {
                return Err(Trouble::invalid("missing 'file' field in multipart upload"));
            };
            if part.name() != Some(FILE) {
                continue;
            }
            let name = clean_filename(part.file_name().unwrap_or_default());
            let (mut kind, mut bytes) = (Kind::new(), 0_u64);
            loop {
                let due = began + self.stall + Duration::from_secs(bytes / BODY_RATE);
                let due = due.min(Instant::now() + self.stall);
                let chunk = timeout_at(due, part.chunk()).await.map_err(|_| broken())?;
                let Some(chunk) = chunk.map_err(failed)? else { break };
                bytes += chunk.len() as u64;
                if bytes > most as u64 {
                    return Err(too_large(most));
                }
                kind.look(&chunk);
                self.arriving.write(chunk).await?;
            }
            if bytes == 0 {
                return Err(Trouble::invalid("empty file"));
            }
            return Ok((name, kind, bytes, self.arriving));
        }
    }
}

fn broken() -> Trouble {
    Trouble::invalid("failed to read upload body")
}
