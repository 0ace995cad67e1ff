//! A path as a model writes it, parsed once into names beneath the workspace.

use std::path::Path;

use super::name;

/// Longest path, in bytes: what the kernel takes.
const PATH_BYTES: usize = 4096;
/// Longest name, in bytes: what file systems take.
const NAME_BYTES: usize = 255;
/// Most folders on the way to a file: deeper is a loop somebody made.
const DEPTH: usize = 64;

/// Why a text is no path beneath the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It says nothing.
    #[error("the path is empty; the workspace itself is \".\"")]
    Empty,
    /// No file can have that name.
    #[error("the path has a NUL character, which no file's name has")]
    Nul,
    /// It or one of its names is too long, or it is too deep.
    #[error("the path is too long: {PATH_BYTES} bytes, {NAME_BYTES} for each name, {DEPTH} names at most")]
    TooLong,
    /// It names the home folder of a shell.
    #[error("a path does not begin with \"~\": it is relative to the workspace")]
    Home,
    /// It leaves the workspace.
    #[error("the path is outside the workspace; give one relative to the workspace")]
    Outside,
}

/// Where something is, or could be, beneath a workspace: names, none of which is `.` or `..`. The file system has not
/// been asked: a name on the way may be a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspacePath(Vec<String>);

impl WorkspacePath {
    /// Reads a path that is relative to the workspace, or absolute and beneath `root`, the workspace's own path.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str, root: Option<&Path>) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        if text.len() > PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if text == "~" || text.starts_with("~/") {
            return Err(PathError::Home);
        }
        let mut names = normalize(text)?;
        if text.starts_with('/') {
            let root = root.and_then(Path::to_str).ok_or(PathError::Outside)?;
            let root = normalize(root)?;
            if !names.starts_with(&root) {
                return Err(PathError::Outside);
            }
            names.drain(..root.len());
        }
        if names.len() > DEPTH || names.iter().any(|name| name.len() > NAME_BYTES) {
            return Err(PathError::TooLong);
        }
        Ok(Self(names.into_iter().map(str::to_owned).collect()))
    }

    /// The workspace itself.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Its names, from the workspace on.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// What is in this folder under a name; nothing where that is too deep.
    pub(crate) fn join(&self, name: &str) -> Option<Self> {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        (names.len() <= DEPTH).then_some(Self(names))
    }

    /// On one line, with nothing in it that cannot be seen.
    pub fn shown(&self) -> String {
        name::shown(self.text().as_bytes())
    }

    /// As the kernel is told it; `.` for the workspace itself.
    pub fn text(&self) -> String {
        if self.0.is_empty() { ".".into() } else { self.0.join("/") }
    }
}

/// The names of a path, `.` left out and `..` resolved by the text alone.
fn normalize(text: &str) -> Result<Vec<&str>, PathError> {
    let mut names = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or(PathError::Outside)?;
            }
            name => names.push(name),
        }
    }
    Ok(names)
}
