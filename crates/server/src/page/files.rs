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
        path: "assets/index-CWGkKzlB.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"1Jm1rOUT97jo64U4q9tuh9\"",
        body: include_bytes!("../../../../ui/dist/assets/index-CWGkKzlB.js"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-CWGkKzlB.js.gz")),
    },
    File {
        path: "assets/index-DDycuPJR.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"q8_ls2Z_bju0KgA3jMVgg0\"",
        body: include_bytes!("../../../../ui/dist/assets/index-DDycuPJR.css"),
        packed: Some(include_bytes!("../../../../ui/dist/assets/index-DDycuPJR.css.gz")),
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
        etag: "\"dT7tb2sKxJF3uDaFaR1LB8\"",
        body: include_bytes!("../../../../ui/dist/index.html"),
        packed: Some(include_bytes!("../../../../ui/dist/index.html.gz")),
    },
];
