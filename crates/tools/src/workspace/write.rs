//! Writing a file: it is there whole, with what it held before or with what it holds now, whatever happens.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::MutexGuard,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{
    FileError, Workspace, WorkspacePath,
    open::{Kind, OpenFile, beneath, open_or_make, stat_in},
    protected::protected,
};

/// Folders that are made on the way to a file; what the process' mask takes away is taken away.
const FOLDER_MODE: u32 = 0o777;
/// New files, the same.
const FILE_MODE: u32 = 0o666;
/// What is kept of a file's mode when it is replaced: not that it runs as somebody else.
const KEPT_MODE: u32 = 0o777;
/// Anybody's right to write.
const WRITABLE: u32 = 0o222;

/// A file that is to be written: its real place, and what was there when it was looked at. Other calls that are to
/// write it wait.
#[derive(Debug)]
pub struct Target<'a> {
    workspace: &'a Workspace,
    real: WorkspacePath,
    before: Option<Stat>,
    _turn: MutexGuard<'a, ()>,
}

impl Workspace {
    /// Looks at a file that is to be written, or made.
    ///
    /// # Errors
    /// When it may not be: a protected name, no regular file, a way out of the workspace. Blocks while another call
    /// writes the file.
    pub fn target(&self, path: &WorkspacePath) -> Result<Target<'_>, FileError> {
        let real = self.real(path)?;
        let names: Vec<&str> = real.names().collect();
        if let Some(name) = protected(&names) {
            return Err(FileError::Protected { path: path.shown(), name: name.to_owned() });
        }
        let turn = self.writers.enter(&self.path, &real.text());
        let before = match self.open(&real, OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::NO_SYMLINKS) {
            Ok(handle) => {
                Some(rustix::fs::fstat(&handle).map_err(|errno| FileError::at(&path.shown(), errno))?)
            }
            Err(FileError::Missing(_)) => None,
            Err(fault) => return Err(fault),
        };
        match &before {
            None if names.iter().any(|name| name.contains(|c: char| c.is_control())) => {
                return Err(FileError::Name);
            }
            Some(stat) if Kind::of_stat(stat) != Kind::File => {
                let is = Kind::of_stat(stat).words();
                return Err(FileError::Kind { path: path.shown(), is, wanted: "a file" });
            }
            Some(stat) if stat.st_mode & WRITABLE == 0 => return Err(FileError::ReadOnly(path.shown())),
            _ => {}
        }
        Ok(Target { workspace: self, real, before, _turn: turn })
    }
}

impl Target<'_> {
    /// The file's path without links.
    pub fn path(&self) -> &WorkspacePath {
        &self.real
    }

    /// What it holds; `None` when there is none yet.
    ///
    /// # Errors
    /// When it has more than `most` bytes, or is another one by now.
    pub fn read(&self, most: u64) -> Result<Option<Vec<u8>>, FileError> {
        let Some(before) = &self.before else { return Ok(None) };
        let open: OpenFile = self.workspace.open_plain_file(&self.real)?;
        let now = rustix::fs::fstat(&open.file).map_err(|errno| self.fault(errno))?;
        if !is_same(before, &now) {
            return Err(FileError::Changed(self.real.shown()));
        }
        open.read(&self.real, most).map(Some)
    }

    /// Puts a file with these bytes in its place, and makes the folders on the way. A file of the same bytes that
    /// has another name elsewhere keeps what it holds.
    ///
    /// # Errors
    /// When it was changed since it was looked at; nothing is changed then.
    pub fn write(self, bytes: &[u8]) -> Result<(), FileError> {
        let mut names: Vec<&str> = self.real.names().collect();
        let Some(name) = names.pop() else {
            return Err(FileError::Kind { path: ".".into(), is: "a folder", wanted: "a file" });
        };
        let folder = self.folder(&names)?;
        let mut draft = Draft::make(&folder, self.mode()).map_err(|errno| self.fault(errno))?;
        let filled = draft.fill(bytes, self.before.as_ref());
        filled.map_err(|source| FileError::system(&self.real.shown(), source))?;
        let now = stat_in(&folder, name.as_ref()).map_err(|errno| self.fault(errno))?;
        let unchanged = match (&self.before, &now) {
            (None, None) => true,
            (Some(before), Some(now)) => is_same(before, now),
            _ => false,
        };
        if !unchanged {
            return Err(FileError::Changed(self.real.shown()));
        }
        draft.put(name.as_ref(), self.before.is_none()).map_err(|errno| match errno {
            Errno::EXIST => FileError::Changed(self.real.shown()),
            errno => self.fault(errno),
        })
    }

    /// Before anything of it can be seen, a file of others' may not be readable to more than it was.
    fn mode(&self) -> Mode {
        Mode::from_raw_mode(if self.before.is_some() { 0o600 } else { FILE_MODE })
    }

    /// The folder of the file, made where it is missing, one name at a time so that no link is followed.
    fn folder(&self, names: &[&str]) -> Result<OwnedFd, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let open = |folder: &OwnedFd, name: &str| {
            beneath(folder, OsStr::new(name), flags, ResolveFlags::NO_SYMLINKS)
        };
        let mut folder = open(self.workspace.folder(), ".").map_err(|errno| self.fault(errno))?;
        for name in names {
            let below = match open(&folder, name) {
                Err(Errno::NOENT) => {
                    let mode = Mode::from_raw_mode(FOLDER_MODE);
                    match rustix::fs::mkdirat(&folder, OsStr::new(name), mode) {
                        // Somebody else made it.
                        Ok(()) | Err(Errno::EXIST) => open(&folder, name),
                        Err(errno) => Err(errno),
                    }
                }
                done => done,
            };
            folder = below.map_err(|errno| self.fault(errno))?;
        }
        Ok(folder)
    }

    fn fault(&self, errno: Errno) -> FileError {
        FileError::at(&self.real.shown(), errno)
    }
}

/// Whether it is the same file with the same bytes, as far as the file system says.
fn is_same(before: &Stat, now: &Stat) -> bool {
    let of = |stat: &Stat| {
        (
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec,
        )
    };
    of(before) == of(now)
}

/// A file that is being written beside the one it replaces. Removed unless it was put in its place.
struct Draft<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    placed: bool,
}

impl<'a> Draft<'a> {
    fn make(folder: &'a OwnedFd, mode: Mode) -> Result<Self, Errno> {
        let number = getrandom::u64().map_err(|_| Errno::IO)?;
        let name = format!(".moongate-{number:016x}.tmp");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = open_or_make(folder, OsStr::new(&name), flags, mode, ResolveFlags::NO_SYMLINKS)?;
        Ok(Self { folder, name, file: file.into(), placed: false })
    }

    fn fill(&mut self, bytes: &[u8], before: Option<&Stat>) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if let Some(before) = before {
            rustix::fs::fchmod(&self.file, Mode::from_raw_mode(before.st_mode & KEPT_MODE))?;
        }
        self.file.sync_all()
    }

    fn put(&mut self, name: &OsStr, new: bool) -> Result<(), Errno> {
        let flags = if new { rustix::fs::RenameFlags::NOREPLACE } else { rustix::fs::RenameFlags::empty() };
        let draft = OsStr::new(&self.name);
        rustix::fs::renameat_with(self.folder, draft, self.folder, name, flags)?;
        self.placed = true;
        rustix::fs::fsync(self.folder.as_fd())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed is left over, under a name that says whose it is.
            let _left = rustix::fs::unlinkat(self.folder, OsStr::new(&self.name), AtFlags::empty());
        }
    }
}
