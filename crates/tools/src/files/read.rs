//! `read_file`: lines of a text file, with their numbers.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _},
};

use async_trait::async_trait;
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Desk, reach, run};
use crate::{
    Workspaces, arguments,
    workspace::{FileError, OpenFile, WorkspacePath},
};

/// Lines that are shown where no number is given, and at most.
const LINES: usize = 2000;
/// Bytes that are shown: below what core would cut, so that a cut is always between lines and says how to go on.
const SHOWN_BYTES: usize = 60 * 1024;
/// Bytes of one line that are shown: longer ones were not written by people.
const LINE_BYTES: usize = 4 * 1024;
/// Bytes that are looked through for a line: past it the file is none to be read line by line.
const SCANNED_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes at the beginning that tell text from other data.
const SNIFFED_BYTES: usize = 8 * 1024;

const DESCRIPTION: &str = "Reads a text file of the workspace. Each line comes with its number, which is no part of the \
     file. What does not fit is left out at the end, with the offset to read on from.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    /// The file, relative to the workspace.
    path: String,
    /// The first line to read; the first is 1.
    #[serde(default = "first")]
    #[schemars(range(min = 1))]
    offset: usize,
    /// How many lines.
    #[serde(default = "all")]
    #[schemars(range(min = 1, max = LINES))]
    limit: usize,
}

fn first() -> usize {
    1
}

fn all() -> usize {
    LINES
}

/// The tool.
pub(super) struct ReadFile {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl ReadFile {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Lines>("read_file", DESCRIPTION, Effect::Read), workspaces }
    }
}

#[async_trait]
impl Tool for ReadFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        reach(&self.workspaces, arguments)
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        run(&self.workspaces, grant, work).await
    }
}

fn work(desk: &Desk, wanted: &Lines) -> Result<ToolResult, FileError> {
    let path = desk.path(&wanted.path)?;
    let OpenFile { file, bytes } = desk.workspace.open_file(&path)?;
    let system = |source| FileError::System { path: path.shown(), source };
    let mut reader = BufReader::with_capacity(SNIFFED_BYTES, file.take(SCANNED_BYTES));
    if reader.fill_buf().map_err(system)?.contains(&0) {
        return Err(FileError::Refused(binary(&path, bytes)));
    }
    let mut shown = Shown::default();
    let mut line = Vec::new();
    loop {
        desk.go_on()?;
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(system)? == 0 {
            break;
        }
        shown.seen += 1;
        let inside = shown.seen >= wanted.offset && shown.lines < wanted.limit;
        if inside && !shown.push(&line) || shown.seen >= wanted.offset && !inside {
            shown.seen -= 1;
            shown.more = true;
            break;
        }
    }
    let scanned_out = reader.get_ref().limit() == 0;
    Ok(ToolResult::ok(shown.finish(&path, bytes, scanned_out, wanted.offset)))
}

/// The lines so far.
#[derive(Default)]
struct Shown {
    text: String,
    lines: usize,
    /// Lines that were read, shown or not.
    seen: usize,
    /// There are more lines than are shown.
    more: bool,
}

impl Shown {
    /// Adds a line; not where it does not fit.
    fn push(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        let end = text.floor_char_boundary(LINE_BYTES);
        if self.text.len() + end > SHOWN_BYTES {
            return false;
        }
        let _ = write!(self.text, "{:>6}\t{}", self.seen, &text[..end]);
        if end < text.len() {
            let _ = write!(self.text, " [{} more bytes of this line]", text.len() - end);
        }
        self.text.push('\n');
        self.lines += 1;
        true
    }

    fn finish(mut self, path: &WorkspacePath, bytes: u64, scanned_out: bool, offset: usize) -> String {
        if self.more {
            let _ = write!(self.text, "[there is more: read on with offset {}]", self.seen + 1);
        } else if scanned_out {
            let _ = write!(self.text, "[the rest of {bytes} bytes is too far to be read by lines: use grep]");
        } else if self.lines == 0 {
            let path = path.shown();
            let _ = match self.seen {
                0 => write!(self.text, "[{path} is empty]"),
                seen => write!(self.text, "[{path} has {seen} lines, none from {offset} on]"),
            };
        }
        self.text
    }
}

fn binary(path: &WorkspacePath, bytes: u64) -> String {
    let path = path.shown();
    format!("{path} is no text but data of {bytes} bytes; view_image shows images")
}
