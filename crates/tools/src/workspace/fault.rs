//! Why something with a file was not done, in words for the model.

use std::io;

use rustix::io::Errno;

use super::path::PathError;
use crate::WorkspaceError;

/// Why something with a file was not done.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no workspace.
    #[error(transparent)]
    NoWorkspace(#[from] WorkspaceError),
    /// The path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Nothing is there.
    #[error("there is nothing at {0}")]
    Missing(String),
    /// The path leads out of the workspace through a link.
    #[error("{0} leads out of the workspace through a link")]
    Outside(String),
    /// Links go round, or one appeared while the file was being opened.
    #[error("{0} goes through links that cannot be followed")]
    Links(String),
    /// It is something else than is needed.
    #[error("{path} is {is}, not {wanted}")]
    Kind {
        /// Where.
        path: String,
        /// What it is.
        is: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// Other programs act on that name by themselves.
    #[error(
        "{path} may not be written: {name} is a protected name, which other programs act on by themselves"
    )]
    Protected {
        /// Where.
        path: String,
        /// The name.
        name: String,
    },
    /// It may not be written.
    #[error("{0} is read-only")]
    ReadOnly(String),
    /// A new file may not be named so.
    #[error("a new file's name has no control characters")]
    Name,
    /// It is larger than the tool handles.
    #[error("{path} has {bytes} bytes; this tool takes {most} at most")]
    TooLarge {
        /// Where.
        path: String,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        most: u64,
    },
    /// Somebody else changed it at the same time.
    #[error("{0} was changed by somebody else meanwhile; read it again")]
    Changed(String),
    /// The kernel cannot keep an agent within its workspace.
    #[error(
        "the file tools are off: this kernel has no openat2 (Linux 5.6), which keeps them in the workspace"
    )]
    Off,
    /// The call was told to stop.
    #[error("the call was stopped")]
    Stopped,
    /// What the arguments ask for cannot be done.
    #[error("{0}")]
    Refused(String),
    /// The system failed.
    #[error("{path}: {source}")]
    System {
        /// Where.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl FileError {
    /// What the system's answer about a path means.
    pub(super) fn at(path: &str, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT => Self::Missing(path),
            Errno::XDEV => Self::Outside(path),
            Errno::LOOP => Self::Links(path),
            Errno::NOSYS => Self::Off,
            Errno::NOTDIR => Self::Kind { path, is: "a file or goes through one", wanted: "a folder" },
            errno => Self::System { path, source: errno.into() },
        }
    }

    pub(super) fn system(path: &str, source: io::Error) -> Self {
        Self::System { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_openat2_the_tools_say_that_they_are_off() {
        assert!(FileError::at("x", Errno::NOSYS).to_string().starts_with("the file tools are off"));
    }
}
