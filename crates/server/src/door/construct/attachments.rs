//! Uploads: read piece by piece, their size checked on the way.

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use moongate_core::Scope;
use moongate_protocol::Timestamp;
use multer::{Constraints, Multipart, SizeLimit};
use serde::Serialize;

use super::{
    Construct,
    handshake::parse_id,
    reply::{Reply, Trouble},
    sessions::require,
    uploads::{self, clean_filename},
};
use crate::{caller::Authenticated, door::shared::Door, reply::json};

/// Bytes of a body besides the file itself: part headers, and parts that are ignored.
const AROUND_BYTES: u64 = 64 << 10;
/// The part that carries the file.
const FILE: &str = "file";

#[derive(Serialize)]
struct Uploaded {
    file_id: String,
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
    let file = read(request, boundary, limits.upload_bytes, door.app().limits().body_stall).await?;
    let whose = (caller.principal().clone(), id.clone());
    if !door.quotas.take(whose, file.1.len() as u64, limits.session_upload_bytes) {
        let message = "The uploads of this session are as many bytes as they may";
        return Err(Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message));
    }
    let gateway = door.app().gateway();
    let (file_id, kept) = uploads::keep(&**gateway.store(), &caller, gateway.ids(), &id, file).await?;
    let uploaded = Uploaded {
        file_id,
        filename: kept.filename,
        size: kept.size,
        mime: kept.mime,
        session_id: kept.session,
        created_at: kept.created_at,
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

/// The first part that is the file: its name, and its bytes.
async fn read(
    request: Request,
    boundary: String,
    most: usize,
    stall: std::time::Duration,
) -> Reply<(String, Bytes)> {
    let limit = SizeLimit::new().whole_stream(most as u64 + AROUND_BYTES);
    let constraints = Constraints::new().size_limit(limit);
    let body = request.into_body().into_data_stream();
    let mut parts = Multipart::with_constraints(body, boundary, constraints);
    let broken = || Trouble::invalid("failed to read upload body");
    let failed = |error: multer::Error| match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => too_large(most),
        _ => broken(),
    };
    loop {
        let part = tokio::time::timeout(stall, parts.next_field()).await.map_err(|_| broken())?;
        let Some(mut part) = part.map_err(failed)? else {
            return Err(Trouble::invalid("missing 'file' field in multipart upload"));
        };
        if part.name() != Some(FILE) {
            continue;
        }
        let name = clean_filename(part.file_name().unwrap_or_default());
        let mut bytes = BytesMut::new();
        while let Some(chunk) =
            tokio::time::timeout(stall, part.chunk()).await.map_err(|_| broken())?.map_err(failed)?
        {
            if bytes.len() + chunk.len() > most {
                return Err(too_large(most));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.is_empty() {
            return Err(Trouble::invalid("empty file"));
        }
        return Ok((name, bytes.freeze()));
    }
}
