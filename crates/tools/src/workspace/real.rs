//! Where a path really leads: the same place in names none of which is a link. What may not be written is known by its
//! real name, and what was checked is then opened without following anything.

use std::{ffi::CString, os::fd::OwnedFd};

use rustix::{
    fs::{OFlags, ResolveFlags},
    io::Errno,
};

use super::{
    FileError, Workspace, WorkspacePath,
    open::{Kind, beneath},
};

/// Links that are followed on one path: what the kernel follows.
const LINKS: usize = 40;

impl Workspace {
    /// The path without links; what is not there yet has the names it would get.
    pub(crate) fn real(&self, path: &WorkspacePath) -> Result<WorkspacePath, FileError> {
        let shown = path.shown();
        let mut left: Vec<String> = path.names().rev().map(str::to_owned).collect();
        let mut real: Vec<String> = Vec::new();
        let (mut links, mut missing) = (0, false);
        while let Some(name) = left.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." if real.pop().is_some() => continue,
                ".." => return Err(FileError::Outside(shown)),
                _ => real.push(name),
            }
            if missing {
                continue;
            }
            match self.look(&real.join("/")) {
                Ok(Look::Link(target)) => {
                    links += 1;
                    if links > LINKS {
                        return Err(FileError::Links(shown));
                    }
                    if target.starts_with('/') {
                        return Err(FileError::Outside(shown));
                    }
                    real.pop();
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                Ok(Look::Other) => {}
                Err(Errno::NOENT) => missing = true,
                Err(errno) => return Err(FileError::at(&shown, errno)),
            }
        }
        // Names that links hold are held to the same bounds.
        let text = if real.is_empty() { ".".to_owned() } else { real.join("/") };
        Ok(WorkspacePath::parse(&text, None)?)
    }

    fn look(&self, path: &str) -> Result<Look, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let handle: OwnedFd = beneath(self.folder(), path.as_ref(), flags, ResolveFlags::NO_SYMLINKS)?;
        if Kind::of_stat(&rustix::fs::fstat(&handle)?) != Kind::Link {
            return Ok(Look::Other);
        }
        let target: CString = rustix::fs::readlinkat(&handle, "", Vec::new())?;
        // A name that is no text cannot be one of ours.
        target.into_string().map(Look::Link).map_err(|_| Errno::ILSEQ)
    }
}

enum Look {
    Link(String),
    Other,
}
