//! Opening what is beneath a workspace, and nothing else: every path is resolved by the kernel, from the folder that is
//! held open, and what leads out of it is refused there.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{FileError, Workspace, WorkspacePath};

/// Times an open is tried again where something on the way was moved meanwhile.
const TRIES: usize = 32;

/// Something of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as bytes: file systems ask no more of a name.
    pub name: Vec<u8>,
    /// What it is; a link is not followed.
    pub kind: Kind,
}

/// What something in a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with bytes in it.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket: nothing a tool opens.
    Special,
}

impl Kind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Special,
        }
    }

    pub(super) fn of_stat(stat: &Stat) -> Self {
        Self::of(FileType::from_raw_mode(stat.st_mode))
    }

    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Special => "a device, a pipe or a socket",
        }
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// Its bytes.
    pub file: File,
    /// How many there were when it was opened.
    pub bytes: u64,
}

impl OpenFile {
    /// All its bytes.
    ///
    /// # Errors
    /// When it has more than `most`.
    pub fn read(self, path: &WorkspacePath, most: u64) -> Result<Vec<u8>, FileError> {
        let too_large = |bytes| FileError::TooLarge { path: path.shown(), bytes, most };
        if self.bytes > most {
            return Err(too_large(self.bytes));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        // It may have grown since it was opened.
        let read = self.file.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|source| FileError::system(&path.shown(), source))?;
        if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
    }
}

impl Workspace {
    /// Opens a file for reading. Links are followed as long as they stay in the workspace.
    ///
    /// # Errors
    /// When it is no regular file of this workspace. A pipe does not block, and no device is opened.
    pub fn open_file(&self, path: &WorkspacePath) -> Result<OpenFile, FileError> {
        self.open_regular(path, ResolveFlags::empty())
    }

    /// The same without following any link.
    pub(crate) fn open_plain_file(&self, path: &WorkspacePath) -> Result<OpenFile, FileError> {
        self.open_regular(path, ResolveFlags::NO_SYMLINKS)
    }

    /// What is in a folder, in the order of the names' bytes; at most `most` entries, and whether there are more.
    ///
    /// # Errors
    /// When it is no folder of this workspace.
    pub fn list(&self, path: &WorkspacePath, most: usize) -> Result<(Vec<Entry>, bool), FileError> {
        self.list_with(path, most, ResolveFlags::empty())
    }

    /// The same without following any link.
    pub(crate) fn list_plain(
        &self,
        path: &WorkspacePath,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), FileError> {
        self.list_with(path, most, ResolveFlags::NO_SYMLINKS)
    }

    /// What is at a path; links are followed.
    pub(crate) fn kind(&self, path: &WorkspacePath) -> Result<Kind, FileError> {
        let handle = self.open(path, OFlags::PATH, ResolveFlags::empty())?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| FileError::at(&path.shown(), errno))?;
        Ok(Kind::of_stat(&stat))
    }

    /// How many bytes a file of a folder has; nothing where that cannot be said.
    pub(crate) fn bytes_of(&self, path: &WorkspacePath) -> Option<u64> {
        let handle = self.open(path, OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::NO_SYMLINKS).ok()?;
        u64::try_from(rustix::fs::fstat(&handle).ok()?.st_size).ok()
    }

    fn list_with(
        &self,
        path: &WorkspacePath,
        most: usize,
        more: ResolveFlags,
    ) -> Result<(Vec<Entry>, bool), FileError> {
        let fault = |errno| FileError::at(&path.shown(), errno);
        let folder = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK, more)?;
        let mut entries = Vec::new();
        let mut cut = false;
        for entry in Dir::new(folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if entries.len() == most {
                cut = true;
                break;
            }
            entries.push(Entry { name: name.to_vec(), kind: Kind::of(entry.file_type()) });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((entries, cut))
    }

    fn open_regular(&self, path: &WorkspacePath, more: ResolveFlags) -> Result<OpenFile, FileError> {
        // What it is is seen before it is opened: opening alone sets some devices off.
        let seen = self.open(path, OFlags::PATH, more)?;
        self.regular(path, &seen)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open(path, flags, more)?;
        // It may be another one by now.
        let stat = self.regular(path, &file)?;
        Ok(OpenFile { file: file.into(), bytes: u64::try_from(stat.st_size).unwrap_or_default() })
    }

    fn regular(&self, path: &WorkspacePath, handle: &OwnedFd) -> Result<Stat, FileError> {
        let stat = rustix::fs::fstat(handle).map_err(|errno| FileError::at(&path.shown(), errno))?;
        match Kind::of_stat(&stat) {
            Kind::File => Ok(stat),
            kind => Err(FileError::Kind { path: path.shown(), is: kind.words(), wanted: "a file" }),
        }
    }

    pub(super) fn open(
        &self,
        path: &WorkspacePath,
        flags: OFlags,
        more: ResolveFlags,
    ) -> Result<OwnedFd, FileError> {
        let text = path.text();
        beneath(self.folder(), OsStr::from_bytes(text.as_bytes()), flags, more)
            .map_err(|errno| FileError::at(&path.shown(), errno))
    }
}

/// Opens what is at `path` beneath `folder`. The one place that opens anything.
pub(super) fn beneath(
    folder: &OwnedFd,
    path: &OsStr,
    flags: OFlags,
    more: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    open_or_make(folder, path, flags, Mode::empty(), more)
}

/// Opens a file beneath `folder`, or makes it where the flags say so.
pub(super) fn open_or_make(
    folder: &OwnedFd,
    path: &OsStr,
    flags: OFlags,
    mode: Mode,
    more: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // The kernel could not say whether a `..` on the way stayed beneath, because something was moved.
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

/// What is known of an entry of an open folder, without following it.
pub(super) fn stat_in(folder: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
