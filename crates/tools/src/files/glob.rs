//! `glob`: the files whose paths fit a pattern.

use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Desk, reach, run,
    walk::{Next, walk},
};
use crate::{
    Workspaces, arguments,
    workspace::{FileError, Kind, WorkspacePath},
};

/// Paths that are shown where no number is given.
const PATHS: usize = 200;
/// And at most.
const MOST_PATHS: usize = 2000;
/// Bytes that are shown: below what core would cut.
const SHOWN_BYTES: usize = 60 * 1024;
/// Bytes of a pattern.
const PATTERN_BYTES: usize = 1024;

const DESCRIPTION: &str = "Finds files and links of the workspace by their path: `*` and `?` stand for anything but /, `**` for \
     any folders, `{a,b}` for either. A pattern without / is about names at any depth. What .gitignore names is left \
     out. Paths are relative to the workspace, in order.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The pattern, relative to `path`.
    #[schemars(length(min = 1, max = PATTERN_BYTES))]
    pattern: String,
    /// The folder to look in; the workspace where it is left out.
    #[serde(default = "here")]
    path: String,
    /// Look at what .gitignore names too.
    #[serde(default)]
    ignored: bool,
    /// How many paths.
    #[serde(default = "usual")]
    #[schemars(range(min = 1, max = MOST_PATHS))]
    limit: usize,
}

fn here() -> String {
    ".".into()
}

fn usual() -> usize {
    PATHS
}

/// The tool.
pub(super) struct Glob {
    spec: ToolSpec,
    workspaces: Workspaces,
}

impl Glob {
    pub(super) fn new(workspaces: Workspaces) -> Self {
        Self { spec: arguments::spec::<Wanted>("glob", DESCRIPTION, Effect::Read), workspaces }
    }
}

#[async_trait]
impl Tool for Glob {
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
    let pattern = Pattern::parse(&wanted.pattern)?;
    let (mut text, mut shown, mut more) = (String::new(), 0, false);
    let left_out = walk(desk, &start, wanted.ignored, &mut |found| {
        if found.kind == Kind::Folder || !pattern.fits(&start, &found.path) {
            return Ok(Next::GoOn);
        }
        let path = found.path.shown();
        if shown == wanted.limit || text.len() + path.len() > SHOWN_BYTES {
            more = true;
            return Ok(Next::Stop);
        }
        text.push_str(&path);
        text.push('\n');
        shown += 1;
        Ok(Next::GoOn)
    })?;
    if shown == 0 {
        text.push_str("[nothing fits]\n");
    }
    if more {
        text.push_str("[there is more: name a folder or a narrower pattern]\n");
    }
    text.push_str(&left_out.note());
    Ok(ToolResult::ok(text))
}

/// A pattern, for whole paths or for names alone.
pub(super) struct Pattern {
    matcher: GlobMatcher,
    names_only: bool,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, FileError> {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|fault| FileError::Refused(format!("the pattern is none: {fault}")))?;
        Ok(Self { matcher: glob.compile_matcher(), names_only: !text.contains('/') })
    }

    /// Whether a path fits, as it is seen from `start`, which it is beneath.
    pub(super) fn fits(&self, start: &WorkspacePath, path: &WorkspacePath) -> bool {
        let names: Vec<&str> = path.names().skip(start.names().count()).collect();
        match names.last() {
            Some(name) if self.names_only => self.matcher.is_match(name),
            _ => self.matcher.is_match(names.join("/")),
        }
    }
}
