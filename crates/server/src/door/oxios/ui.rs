//! A built UI, served from a folder at the root of the door's own listener.

use std::path::{Component, Path, PathBuf};

use axum::{
    extract::{OriginalUri, Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Oxios, fault::refusal};
use crate::{door::shared::Door, guard::percent, reply::bytes};

/// Bytes of one file.
const FILE_BYTES: u64 = 32 << 20;
/// Where nothing but files and routes is: a page there would hide a mistake.
const NO_PAGES: [&str; 5] = ["/api", "/health", "/metrics", "/assets", "/locales"];
/// What a page may load.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     font-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// `GET` of anything that is no route.
pub(super) async fn serve(
    State(door): State<Door<Oxios>>,
    OriginalUri(whole): OriginalUri,
    request: Request,
) -> Response {
    let path = request.uri().path();
    // Beneath a prefix there is no UI: its pages name everything from the root.
    let at_root = whole.path() == path;
    let found = match door.settings.ui_dir.as_deref().filter(|_| at_root) {
        Some(folder) => look_up(folder, path, request.headers()).await,
        None => None,
    };
    found.unwrap_or_else(|| refusal(StatusCode::NOT_FOUND, "there is no such route"))
}

async fn look_up(folder: &Path, path: &str, headers: &HeaderMap) -> Option<Response> {
    if let Some(file) = resolve(folder, path).await {
        return read(&file, false).await;
    }
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let wants_page = path == "/" || accepts.into_iter().any(|accept| accept.contains("text/html"));
    let is_page = !NO_PAGES.iter().any(|start| path.starts_with(start));
    if !wants_page || !is_page {
        return None;
    }
    read(&resolve(folder, "/index.html").await?, true).await
}

/// The file a path names, if it lies below the folder, links followed.
async fn resolve(folder: &Path, path: &str) -> Option<PathBuf> {
    let decoded = percent::once(path.trim_start_matches('/'));
    let relative = Path::new(&decoded);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if decoded.is_empty() || decoded.contains(['\0', '\\']) || !plain {
        return None;
    }
    let root = tokio::fs::canonicalize(folder).await.ok()?;
    let file = tokio::fs::canonicalize(root.join(relative)).await.ok()?;
    let data = tokio::fs::metadata(&file).await.ok()?;
    (file.starts_with(&root) && data.is_file() && data.len() <= FILE_BYTES).then_some(file)
}

async fn read(file: &Path, is_page: bool) -> Option<Response> {
    let content = tokio::fs::read(file).await.ok()?;
    let mut response = bytes(StatusCode::OK, media_type(file), content.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if !is_page && file.components().any(|part| part.as_os_str() == "assets") {
        // Their names change with their content.
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, for_ever);
    }
    Some(response)
}

fn media_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
