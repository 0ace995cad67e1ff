//! The folder an agent works in.

use std::{
    fs::DirBuilder,
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use moongate_core::Place;
use rustix::fs::{Mode, OFlags};

use crate::WorkspaceSettings;

/// Only the gateway's own user enters a session's folder.
const FOLDER_MODE: u32 = 0o700;

/// Why there is no workspace.
#[derive(Debug, thiserror::Error)]
#[error("the workspace cannot be opened: {0}")]
pub struct WorkspaceError(#[from] io::Error);

/// Gives each session its workspace.
#[derive(Clone, Debug)]
pub struct Workspaces(WorkspaceSettings);

impl Workspaces {
    /// Workspaces as the operator wants them.
    pub fn new(settings: WorkspaceSettings) -> Self {
        Self(settings)
    }

    /// The workspace of the session a call runs in. A session's own is made when it is missing, a shared one is
    /// not: it is the operator's.
    ///
    /// # Errors
    /// When it is not there or cannot be made. Blocks for as long as the disk takes.
    pub fn open(&self, place: &Place) -> Result<Workspace, WorkspaceError> {
        let path = match &self.0 {
            WorkspaceSettings::Shared(path) => path.clone(),
            WorkspaceSettings::PerSession(root) => {
                let path = root.join(place.session.to_string());
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path)?;
                path
            }
        };
        Ok(Workspace::at(path)?)
    }
}

/// The folder one session works in, held open: whoever moves or replaces its path changes nothing.
#[derive(Debug)]
pub struct Workspace {
    folder: OwnedFd,
    path: PathBuf,
}

impl Workspace {
    /// The folder at a path.
    pub(crate) fn at(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { folder, path })
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
