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
        path: "assets/index-CcpLY5nK.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"f9ioaDfgidzB2C_sH65KO3\"",
        body: include_bytes!("../../../../ui/dist/assets/index-CcpLY5nK.js"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-CcpLY5nK.js.gz")),
    },
    File {
        path: "assets/index-POskDIFS.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"8UX1vbr4XXROhyTAbWWYFS\"",
        body: include_bytes!("../../../../ui/dist/assets/index-POskDIFS.css"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-POskDIFS.css.gz")),
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
        etag: "\"86b6-Ur7RtyVc_Yytf20ay\"",
        body: include_bytes!("../../../../ui/dist/index.html"),
        packed: Some(include_bytes!("../../../../ui/dist/index.html.gz")),
    },
];
