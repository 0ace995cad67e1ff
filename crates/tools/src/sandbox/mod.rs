//! Where programs run: apart from the gateway, its files, its network, and from each other.
//!
//! A program sees the system read-only, its session's workspace, temporary folders of its own, no network and none of
//! the gateway's environment, files or processes. All its processes are one namespace that ends with the call.

mod bubblewrap;
mod cgroup;
mod limits;
mod masks;
mod probe;
mod process;
mod program;
mod seccomp;
mod set_up;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use moongate_core::Grant;

pub use self::limits::Limits;
pub(crate) use self::{
    process::{Own, start_own},
    program::Program,
};
use crate::Workspace;

/// Where the workspace is, for programs in a sandbox.
pub(crate) const FOLDER: &str = "/workspace";
/// The home folder of programs in a sandbox; it is new for each call.
const HOME: &str = "/home";
/// The whole environment of a program.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("HOME", HOME),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("SHELL", "/bin/sh"),
    ("TERM", "dumb"),
    ("TMPDIR", "/tmp"),
    ("USER", "agent"),
];

/// What an operator wants programs to be kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxChoice {
    /// The strongest that works here; without one, nothing runs.
    #[default]
    Auto,
    /// Bubblewrap; without it, nothing runs.
    Bubblewrap,
    /// Nothing: a program has all rights of the gateway's own user.
    None,
}

/// Why nothing can be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Unavailable {
    /// The operator does not want it.
    pub(crate) fn switched_off() -> Self {
        Self("[tools.shell] enabled is false".into())
    }
}

/// A way to run programs that was seen to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Bubblewrap(PathBuf),
    Open,
}

/// What is to run.
pub(crate) struct Job<'a> {
    /// The program and its arguments.
    pub(crate) argv: &'a [String],
    /// The folder it works in.
    pub(crate) workspace: &'a Workspace,
    /// Where it begins, beneath that.
    pub(crate) folder: &'a Path,
    /// Folders and files it may read besides.
    pub(crate) readable: &'a [PathBuf],
    /// How much of the machine it may take.
    pub(crate) limits: &'a Limits,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFault {
    /// The system refused something.
    #[error("it could not be started: {0}")]
    System(#[from] std::io::Error),
    /// The sandbox was not set up; its own words.
    #[error("the sandbox could not be set up: {0}")]
    SetUp(String),
}

impl Sandbox {
    /// The sandbox of this choice, after it was tried. It is tried once in a process, which takes a moment.
    ///
    /// # Errors
    /// With the reason why there is none here, and what to do.
    pub fn find(choice: SandboxChoice) -> Result<Self, Unavailable> {
        static FOUND: OnceLock<Result<Sandbox, Unavailable>> = OnceLock::new();
        match choice {
            SandboxChoice::None => Ok(Self(Kind::Open)),
            SandboxChoice::Auto | SandboxChoice::Bubblewrap => FOUND.get_or_init(probe::find).clone(),
        }
    }

    /// Whether it keeps programs from anything.
    pub fn confines(&self) -> bool {
        self.0 != Kind::Open
    }

    /// Starts a program for a call that may run. The caller waits for its end or drops it, which ends it.
    ///
    /// # Errors
    /// When it cannot be started, or not with all its bounds.
    pub(crate) async fn start(&self, _grant: &Grant, job: &Job<'_>) -> Result<Program, StartFault> {
        Program::start(&self.0, job).await
    }
}

/// Names it, for people and for results.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Bubblewrap(_) => "bubblewrap",
            Kind::Open => "none",
        })
    }
}
