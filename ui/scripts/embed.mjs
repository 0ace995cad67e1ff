// Packs what Vite built and writes the list of it that the server is compiled with. The compressor is part of the
// lock file, so that the same sources give the same bytes on every machine.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

import { gzipSync } from "fflate";

const DIST = new URL("../dist/", import.meta.url);
const LIST = new URL("../../crates/server/src/page/files.rs", import.meta.url);
const TYPES = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  txt: "text/plain; charset=utf-8",
  svg: "image/svg+xml",
};
const literal = (text) => JSON.stringify(text);

const names = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.name.endsWith(".gz"))
  .map((entry) => `${entry.parentPath}/${entry.name}`.split("/dist/").at(-1).replace(/^\/+/, ""))
  .sort();

const files = names.map((path) => {
  const body = readFileSync(new URL(path, DIST));
  const packed = gzipSync(body, { level: 9, mtime: 0 });
  const smaller = packed.length < body.length * 0.9;
  if (smaller) writeFileSync(new URL(`${path}.gz`, DIST), packed);
  const type = TYPES[path.split(".").at(-1)];
  if (!type) throw new Error(`${path}: what is it?`);
  const etag = createHash("sha256").update(body).digest("base64url").slice(0, 22);
  const place = `../../../../ui/dist/${path}`;
  return `    File {
        path: ${literal(path)},
        media_type: ${literal(type)},
        etag: ${literal(`"${etag}"`)},
        body: include_bytes!(${literal(place)}),
        packed: ${smaller ? `Some(include_bytes!(${literal(`${place}.gz`)}))` : "None"},
    },
`;
});

writeFileSync(
  LIST,
  `//! The page's files. Written by \`npm run build\` in \`ui\`; do not edit.

use super::File;

/// Every file of the page.
pub(super) static FILES: &[File] = &[
${files.join("")}];
`,
);
