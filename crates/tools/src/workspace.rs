//! The folder an agent works in. Whatever is done with its files is done relative to the folder itself, which is held
//! open, and the kernel refuses every path that leads out of it.

mod fault;
pub(crate) mod name;
mod open;
mod path;
mod protected;
mod real;
mod write;
mod writers;

use std::{
    fs::DirBuilder,
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use moongate_core::Place;
use rustix::fs::{Mode, OFlags};

use self::writers::Writers;
pub use self::{
    fault::FileError,
    open::{Entry, Kind, OpenFile},
    path::{PathError, WorkspacePath},
    write::Target,
};
use crate::WorkspaceSettings;

/// Only the gateway's own user enters a session's folder.
const FOLDER_MODE: u32 = 0o700;

/// Why there is no workspace.
#[derive(Debug, thiserror::Error)]
#[error("the workspace cannot be opened: {0}")]
pub struct WorkspaceError(#[from] io::Error);

/// Gives each session its workspace.
#[derive(Clone, Debug)]
pub struct Workspaces {
    settings: WorkspaceSettings,
    writers: Arc<Writers>,
}

impl Workspaces {
    /// Workspaces as the operator wants them.
    pub fn new(settings: WorkspaceSettings) -> Self {
        Self { settings, writers: Arc::new(Writers::new()) }
    }

    /// The path of the folder that all sessions share, where they share one.
    pub fn shared(&self) -> Option<&Path> {
        match &self.settings {
            WorkspaceSettings::Shared(path) => Some(path),
            WorkspaceSettings::PerSession(_) => None,
        }
    }

    /// The workspace of the session a call runs in. A session's own is made when it is missing, a shared one is
    /// not: it is the operator's.
    ///
    /// # Errors
    /// When it is not there or cannot be made. Blocks for as long as the disk takes.
    pub fn open(&self, place: &Place) -> Result<Workspace, WorkspaceError> {
        let path = match &self.settings {
            WorkspaceSettings::Shared(path) => path.clone(),
            WorkspaceSettings::PerSession(root) => {
                let path = root.join(place.session.to_string());
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path)?;
                path
            }
        };
        Ok(Workspace::at(path, Arc::clone(&self.writers))?)
    }
}

/// The folder one session works in, held open: whoever moves or replaces its path changes nothing.
#[derive(Debug)]
pub struct Workspace {
    folder: OwnedFd,
    path: PathBuf,
    writers: Arc<Writers>,
}

impl Workspace {
    /// The folder at a path, whose writers take turns.
    fn at(path: PathBuf, writers: Arc<Writers>) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { folder, path, writers })
    }

    /// A folder that nobody else works in.
    pub(crate) fn alone(path: PathBuf) -> io::Result<Self> {
        Self::at(path, Arc::new(Writers::new()))
    }

    /// The folder itself.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Where it is, for what can only be told a path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
