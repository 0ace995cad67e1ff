//! How much of the machine one program may take.

use std::{fs, io};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setpriority_process};

/// Bytes of the sandbox's own temporary folders, each: they are memory.
pub(super) const TEMPORARY_BYTES: u64 = 256 * 1024 * 1024;
/// Memory a program may lock, in bytes: what it would take from everybody.
const LOCKED_BYTES: u64 = 64 * 1024;
/// How much nicer programs are than the gateway, whose clients wait.
const NICENESS: i32 = 10;
/// How much sooner than others a program is killed when memory runs out; of 1000.
const KILLED_FIRST: &str = "800";

/// How much of the machine one call's processes may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor seconds of each process.
    pub cpu_secs: u64,
    /// Bytes of memory: of all processes together where there are control groups, else of each.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes of each file that is written.
    pub file_bytes: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// Bytes that stay free on the disk of the workspace: below it, the call is ended.
    pub disk_free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_secs: 300,
            memory: 2 * 1024 * 1024 * 1024,
            processes: 256,
            file_bytes: 1024 * 1024 * 1024,
            open_files: 1024,
            disk_free: 512 * 1024 * 1024,
        }
    }
}

/// What each process has to be bounded in.
pub(super) struct Uncounted {
    /// No control group bounds the memory of all.
    pub(super) memory: bool,
    /// The processes the kernel counts are the call's alone.
    pub(super) processes: bool,
}

/// Bounds a process and all it starts from here on. What a control group bounds needs no bound of its own.
///
/// # Errors
/// When the system does not let them be set: the process must not go on then.
pub(super) fn bound(pid: Pid, limits: &Limits, each: &Uncounted) -> io::Result<()> {
    let mut wanted = vec![
        (Resource::Cpu, limits.cpu_secs),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Memlock, LOCKED_BYTES),
        (Resource::Core, 0),
        (Resource::Msgqueue, 0),
        (Resource::Rtprio, 0),
    ];
    if each.memory {
        wanted.push((Resource::As, limits.memory));
    }
    if each.processes {
        wanted.push((Resource::Nproc, limits.processes));
    }
    for (resource, most) in wanted {
        // Nobody but root may raise a bound.
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    setpriority_process(Some(pid), NICENESS)?;
    // Where it cannot be said, the kernel chooses by size.
    drop(fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), KILLED_FIRST));
    Ok(())
}
