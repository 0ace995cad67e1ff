//! `grep`: the lines that a regular expression fits.

use std::{fmt::Write as _, io};

use async_trait::async_trait;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, MmapChoice, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch,
};
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Desk,
    glob::Pattern,
    reach, run,
    walk::{LeftOut, Next, walk},
};
use crate::{
    Workspaces, arguments,
    workspace::{FileError, Kind, OpenFile, WorkspacePath},
};

/// Lines that fit and are shown where no number is given.
const MATCHES: usize = 200;
/// And at most.
const MOST_MATCHES: usize = 2000;
/// Lines around one that fits.
const CONTEXT: usize = 20;
/// Bytes that are shown: below what core would cut.
const SHOWN_BYTES: usize = 60 * 1024;
/// Bytes of a line that are shown.
const LINE_BYTES: usize = 500;
/// Bytes of a file that is searched: larger ones are named, not read.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes a searcher holds: a file with a longer line is named, not searched.
const HEAP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of an expression.
const PATTERN_BYTES: usize = 4096;
/// Bytes of an expression's automaton, and of the part that is built while it runs. The engine never goes back, so
/// the time is bounded by the text.
const AUTOMATON_BYTES: usize = 4 * 1024 * 1024;

const DESCRIPTION: &str = "Searches files of the workspace line by line for a regular expression (Rust syntax, no \
     look-around, no back-references). Lines are shown as `path:line:text`, lines around them as `path-line-text`. Data \
     that is no text, and what .gitignore names, is left out.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The expression.
    #[schemars(length(min = 1, max = PATTERN_BYTES))]
    pattern: String,
    /// The file or folder to search; the workspace where it is left out.
    #[serde(default = "here")]
    path: String,
    /// Only files whose path fits this pattern, as in `glob`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    glob: Option<String>,
    /// Take upper and lower case for the same.
    #[serde(default)]
    ignore_case: bool,
    /// How many lines to show around each.
    #[serde(default)]
    #[schemars(range(max = CONTEXT))]
    context: usize,
    /// Look at what .gitignore names too.
    #[serde(default)]
    ignored: bool,
    /// How many lines.
    #[serde(default = "usual")]
    #[schemars(range(min = 1, max = MOST_MATCHES))]
    limit: usize,
}

fn here() -> String {
    ".".into()
}

fn usual() -> usize {
    MATCHES
}

/// The tool.
pub(super) struct Grep {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl Grep {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Wanted>("grep", DESCRIPTION, Effect::Read), workspaces }
    }
}

#[async_trait]
impl Tool for Grep {
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

fn work(desk: &Desk, wanted: &Wanted) -> Result<ToolResult, FileError> {
    let start = desk.workspace.real(&desk.path(&wanted.path)?)?;
    let only = wanted.glob.as_deref().map(Pattern::parse).transpose()?;
    let mut search = Search::new(desk, wanted)?;
    let mut left_out = LeftOut::default();
    if desk.workspace.kind(&start)? == Kind::Folder {
        left_out = walk(desk, &start, wanted.ignored, &mut |found| {
            let fits =
                found.kind == Kind::File && only.as_ref().is_none_or(|only| only.fits(&start, &found.path));
            if fits {
                // A file that is gone by now has no lines.
                if let Ok(file) = desk.workspace.open_plain_file(&found.path) {
                    search.file(&found.path, &file);
                }
            }
            Ok(if search.lines.full { Next::Stop } else { Next::GoOn })
        })?;
    } else {
        let file = desk.workspace.open_plain_file(&start)?;
        search.file(&start, &file);
    }
    desk.go_on()?;
    Ok(ToolResult::ok(search.finish(left_out)))
}

/// A search through files, and what was found so far.
struct Search<'a> {
    searcher: Searcher,
    matcher: RegexMatcher,
    lines: Lines<'a>,
    skipped: usize,
}

impl<'a> Search<'a> {
    fn new(desk: &'a Desk, wanted: &Wanted) -> Result<Self, FileError> {
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(wanted.ignore_case)
            .line_terminator(Some(b'\n'))
            .size_limit(AUTOMATON_BYTES)
            .dfa_size_limit(AUTOMATON_BYTES)
            .build(&wanted.pattern)
            .map_err(|fault| FileError::Refused(format!("the expression is none: {fault}")))?;
        let searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .memory_map(MmapChoice::never())
            .heap_limit(Some(HEAP_BYTES))
            .before_context(wanted.context)
            .after_context(wanted.context)
            .build();
        let lines = Lines { desk, path: String::new(), text: String::new(), left: wanted.limit, full: false };
        Ok(Self { searcher, matcher, lines, skipped: 0 })
    }

    fn file(&mut self, path: &WorkspacePath, file: &OpenFile) {
        if file.bytes > FILE_BYTES {
            self.skipped += 1;
            return;
        }
        self.lines.path = path.shown();
        if self.searcher.search_file(&self.matcher, &file.file, &mut self.lines).is_err() {
            self.skipped += 1;
        }
    }

    fn finish(mut self, left_out: LeftOut) -> String {
        let text = &mut self.lines.text;
        if text.is_empty() {
            text.push_str("[nothing fits]\n");
        }
        if self.lines.full {
            text.push_str("[there may be more: name a folder or a narrower expression]\n");
        }
        if self.skipped > 0 {
            let _ = writeln!(text, "[{} files are too large to be searched]", self.skipped);
        }
        text.push_str(&left_out.note());
        self.lines.text
    }
}

/// The lines that are shown.
struct Lines<'a> {
    desk: &'a Desk,
    /// The file that is being searched.
    path: String,
    text: String,
    left: usize,
    full: bool,
}

impl Lines<'_> {
    fn push(&mut self, number: Option<u64>, mark: char, line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        let end = line.floor_char_boundary(LINE_BYTES);
        let more = if end < line.len() { " […]" } else { "" };
        let number = number.unwrap_or_default();
        let _ = writeln!(self.text, "{}{mark}{number}{mark}{}{more}", self.path, &line[..end]);
        self.full |= self.text.len() > SHOWN_BYTES - LINE_BYTES;
        !self.full
    }
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.left == 0 || self.desk.cancel.is_cancelled() {
            self.full = true;
            return Ok(false);
        }
        self.left -= 1;
        Ok(self.push(found.line_number(), ':', found.bytes()))
    }

    fn context(&mut self, _: &Searcher, around: &SinkContext<'_>) -> Result<bool, io::Error> {
        // What comes before a line that does not fit any more is of no use.
        if self.left == 0 && *around.kind() == SinkContextKind::Before {
            return Ok(true);
        }
        Ok(self.push(around.line_number(), '-', around.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, io::Error> {
        self.text.push_str("--\n");
        Ok(!self.full)
    }
}
