//! Names of a workspace that make other programs do things: a sandbox cannot write them, whether they are there or not.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdirat, openat, statat, unlinkat},
    io::Errno,
};

use crate::Workspace;

/// Folders whose files are run or read as settings by editors and agents.
const FOLDERS: &[&str] = &[".claude", ".codex", ".cursor", ".idea", ".vscode", ".zed"];
/// Files that are run or read as settings by shells, editors, agents and this gateway.
const FILES: &[&str] = &[
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".envrc",
    ".mcp.json",
    ".profile",
    ".zlogin",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    "moongate.toml",
];
/// Where git keeps what it runs.
const GIT: &str = ".git";
const GIT_FOLDER: &str = "hooks";
const GIT_FILE: &str = "config";

/// The placeholders there are now, by the folder they are in, with how many calls need them.
static HELD: Mutex<BTreeMap<FolderId, Held>> = Mutex::new(BTreeMap::new());

/// Device and number of a folder.
type FolderId = (u64, u64);

#[derive(Default)]
struct Held {
    calls: usize,
    made: Vec<Placeholder>,
}

impl Held {
    fn has(&self, name: &Path) -> bool {
        self.made.iter().any(|made| made.name == name)
    }
}

struct Placeholder {
    name: PathBuf,
    is_folder: bool,
}

/// What a name is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it is, and it may be written, but not moved.
    Fixed,
    /// As it is; it cannot be written.
    ReadOnly,
    /// Nothing was there: as a file nobody can open.
    NoFile,
    /// Nothing was there: as an empty folder.
    NoFolder,
}

/// The protected names of a workspace, for as long as a call runs. A mount needs something to be mounted on, so what
/// is missing is made for that time and removed when the last call ends.
pub(super) struct Masks {
    folder: FolderId,
    root: std::os::fd::OwnedFd,
    /// Each name, beneath the workspace, outer ones first.
    pub(super) names: Vec<(PathBuf, Shown)>,
}

impl Masks {
    /// Protects the names of a workspace.
    ///
    /// # Errors
    /// When one of them is a symbolic link, which cannot be protected, or a placeholder cannot be made.
    pub(super) fn hold(workspace: &Workspace) -> io::Result<Self> {
        let root = workspace.folder().try_clone()?;
        let status = fstat(&root)?;
        let folder = (status.st_dev, status.st_ino);
        let mut all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(folder).or_default();
        held.calls += 1;
        // From here on dropping it gives back what was taken.
        let mut masks = Self { folder, root, names: Vec::new() };
        let done = masks.look(held);
        drop(all);
        done.map(|()| masks)
    }

    fn look(&mut self, held: &mut Held) -> io::Result<()> {
        let root = self.root.try_clone()?;
        let root = root.as_fd();
        for (names, is_folder) in [(FOLDERS, true), (FILES, false)] {
            for name in names {
                let shown = protect(root, Path::new(name), is_folder, held)?;
                self.names.push(((*name).into(), shown));
            }
        }
        let git = Path::new(GIT);
        let is_repository =
            kind(root, git)? == Some(FileType::Directory) && !held.has(git) && !is_leftover(root, git)?;
        if !is_repository {
            // A file there names a repository elsewhere, which the sandbox does not see.
            let shown = protect(root, git, true, held)?;
            self.names.push((git.into(), shown));
            return Ok(());
        }
        self.names.push((git.into(), Shown::Fixed));
        for (name, is_folder) in [(GIT_FOLDER, true), (GIT_FILE, false)] {
            let name = git.join(name);
            let shown = protect(root, &name, is_folder, held)?;
            self.names.push((name, shown));
        }
        Ok(())
    }
}

impl Drop for Masks {
    fn drop(&mut self) {
        let mut all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = all.get_mut(&self.folder) else { return };
        held.calls -= 1;
        if held.calls > 0 {
            return;
        }
        for Placeholder { name, is_folder } in held.made.drain(..).rev() {
            let how = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            if let Err(error) = unlinkat(&self.root, &name, how) {
                tracing::warn!(%error, "a placeholder of the sandbox could not be removed from a workspace");
            }
        }
        all.remove(&self.folder);
    }
}

/// How a name is shown; makes what it is mounted on where there is nothing.
fn protect(root: BorrowedFd<'_>, name: &Path, is_folder: bool, held: &mut Held) -> io::Result<Shown> {
    let nothing = if is_folder { Shown::NoFolder } else { Shown::NoFile };
    if held.has(name) {
        return Ok(nothing);
    }
    match kind(root, name)? {
        Some(FileType::Symlink) => {
            let text = format!("{} is a symbolic link, which cannot be protected: remove it", name.display());
            return Err(io::Error::other(text));
        }
        Some(_) if !is_leftover(root, name)? => return Ok(Shown::ReadOnly),
        Some(_) => {}
        None if is_folder => mkdirat(root, name, Mode::empty())?,
        None => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(openat(root, name, flags, Mode::empty())?);
        }
    }
    let is_folder = kind(root, name)? == Some(FileType::Directory);
    held.made.push(Placeholder { name: name.to_owned(), is_folder });
    Ok(if is_folder { Shown::NoFolder } else { Shown::NoFile })
}

fn kind(root: BorrowedFd<'_>, name: &Path) -> io::Result<Option<FileType>> {
    match statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a gateway that was killed left it: nobody else makes an empty thing that nobody may open.
fn is_leftover(root: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
    let status = statat(root, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_closed = Mode::from_raw_mode(status.st_mode).is_empty();
    let is_empty = FileType::from_raw_mode(status.st_mode) == FileType::Directory || status.st_size == 0;
    Ok(is_closed && is_empty)
}
