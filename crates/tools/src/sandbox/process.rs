//! The one place of the product that starts processes.

use std::{
    ffi::OsString,
    io::{self, PipeWriter},
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::{Child, Command};

/// The first descriptor that is none of the standard ones.
const FIRST_OTHER: i32 = 3;

/// Held while descriptors are open to children: two programs that start at once do not get each other's.
static STARTING: Mutex<()> = Mutex::new(());

/// What a process is started with.
pub(super) struct Launch<'a> {
    /// The program, by its whole path.
    pub(super) program: &'a Path,
    /// Its arguments, without its name.
    pub(super) arguments: Vec<OsString>,
    /// Its whole environment.
    pub(super) environment: &'a [(&'a str, &'a str)],
    /// Where it begins.
    pub(super) folder: &'a Path,
    /// What it writes to, errors included.
    pub(super) output: PipeWriter,
    /// What it gets besides, under the numbers they have here.
    pub(super) inherited: Vec<OwnedFd>,
}

/// Starts a process in a group of its own. It gets nothing of the gateway's but what the launch says: no variable, no
/// open file. It is killed when it is dropped.
///
/// It has to be called on a thread that lives as long as the process: the kernel ties what dies with its parent to the
/// thread that started it.
///
/// # Errors
/// When the program is not there or the system has no room for it.
pub(super) fn start(launch: Launch<'_>) -> io::Result<Child> {
    let mut command = Command::new(launch.program);
    command.args(launch.arguments).env_clear().envs(launch.environment.iter().copied());
    command.current_dir(launch.folder).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command.stdout(launch.output.try_clone()?).stderr(launch.output);
    spawn(command, &launch.inherited)
}

/// What a program of the operator's is started with.
pub(crate) struct Own<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments, without its name.
    pub(crate) arguments: &'a [String],
    /// Its whole environment.
    pub(crate) environment: Vec<(&'a str, &'a str)>,
    /// Where it begins.
    pub(crate) folder: &'a Path,
}

/// Starts a program that the operator's file names, to be spoken with over its standard streams. It runs as the
/// gateway's own user, in no sandbox, in a group of its own, with no variable and no open file of the gateway's. It is
/// killed when it is dropped.
///
/// # Errors
/// When the program is not there or the system has no room for it.
pub(crate) fn start_own(own: &Own<'_>) -> io::Result<Child> {
    let mut command = Command::new(own.program);
    command.args(own.arguments).env_clear().envs(own.environment.iter().copied());
    command.current_dir(own.folder).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command, &[])
}

fn spawn(mut command: Command, inherited: &[OwnedFd]) -> io::Result<Child> {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    // What whoever started the gateway left open would go on to its children.
    close_fds::set_fds_cloexec_threadsafe(FIRST_OTHER, &[]);
    for descriptor in inherited {
        fcntl_setfd(descriptor, FdFlags::empty())?;
    }
    command.spawn()
}
