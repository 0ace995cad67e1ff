//! The page's files. Written by `npm run build` in `ui`; do not edit.

use super::File;

/// Every file of the page.
pub(super) static FILES: &[File] = &[
    File {
        path: "assets/highlight-BB4bzdxs.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"R9kg-j8cDn_WTzD41MwO7D\"",
        body: include_bytes!("../../../../ui/dist/assets/highlight-BB4bzdxs.js"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/highlight-BB4bzdxs.js.gz")),
    },
    File {
        path: "assets/index-BY_fHxfn.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"y7eTrw-DTzXV4GRnBqiIQa\"",
        body: include_bytes!("../../../../ui/dist/assets/index-BY_fHxfn.js"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-BY_fHxfn.js.gz")),
    },
    File {
        path: "assets/index-Bo406-s_.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"J2otZ8HSHwV9qoCCdmXKm_\"",
        body: include_bytes!("../../../../ui/dist/assets/index-Bo406-s_.css"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-Bo406-s_.css.gz")),
    },
    File {
        path: "favicon.svg",
        media_type: "image/svg+xml",
        etag: "\"2XUrq8b94DnN76rP2Bqy4z\"",
        body: include_bytes!("../../../../ui/dist/favicon.svg"),
        packed: Some(include_bytes!("../../../../ui/dist/favicon.svg.gz")),
    },
    File {
        path: "index.html",
        media_type: "text/html; charset=utf-8",
        etag: "\"DMuVFP1Rw9JJ3xQUBYPmX8\"",
        body: include_bytes!("../../../../ui/dist/index.html"),
        packed: Some(include_bytes!("../../../../ui/dist/index.html.gz")),
    },
];
