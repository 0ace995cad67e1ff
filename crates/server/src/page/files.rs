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
        path: "assets/index-DmuNKLOZ.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"qLS374dayHg3qfpLJIglmZ\"",
        body: include_bytes!("../../../../ui/dist/assets/index-DmuNKLOZ.css"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-DmuNKLOZ.css.gz")),
    },
    File {
        path: "assets/index-GApeaIBP.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"PTuuisBfeWUwN84c3ao2h-\"",
        body: include_bytes!("../../../../ui/dist/assets/index-GApeaIBP.js"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-GApeaIBP.js.gz")),
    },
    File {
        path: "assets/licences-BoSkU0KO.txt",
        media_type: "text/plain; charset=utf-8",
        etag: "\"SOraPTtXSgHDP2N_hHC4L8\"",
        body: include_bytes!("../../../../ui/dist/assets/licences-BoSkU0KO.txt"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/licences-BoSkU0KO.txt.gz")),
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
        etag: "\"aXhNjg8rIiKNc8mGFCdcOt\"",
        body: include_bytes!("../../../../ui/dist/index.html"),
        packed: Some(include_bytes!("../../../../ui/dist/index.html.gz")),
    },
];
