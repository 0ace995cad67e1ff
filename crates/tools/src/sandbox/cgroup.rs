//! Control groups: bounds on all processes of a call together, where the gateway may make groups.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::process::Pid;

use super::Limits;

/// Where Linux systems mount them.
const ROOT: &str = "/sys/fs/cgroup";
/// Says in which groups a process is.
const OWN: &str = "/proc/self/cgroup";
/// The file that takes processes into a group.
const MEMBERS: &str = "cgroup.procs";

/// Tells apart the groups of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The groups of one call, one for each controller in the old layout. Dropping it removes them; their processes have
/// to be gone by then.
#[derive(Debug, Default)]
pub(super) struct Group {
    folders: Vec<PathBuf>,
    /// Memory is bounded.
    pub(super) memory: bool,
    /// The number of processes is bounded.
    pub(super) processes: bool,
}

impl Group {
    /// Makes groups for as much as can be bounded here; perhaps for nothing.
    pub(super) fn new(limits: &Limits) -> Self {
        let mut group = Self::default();
        let Ok(own) = fs::read_to_string(OWN) else { return group };
        // A group may outlive the process that made it, whose number another one gets: the time tells them apart.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("moongate-{}-{}-{now}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (memory, processes) = (limits.memory.to_string(), limits.processes.to_string());
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            if let Some(folder) = own.lines().find_map(|line| line.strip_prefix("0::")).and_then(parent) {
                let folder = folder.join(&name);
                if fs::create_dir(&folder).is_ok() {
                    group.memory = fs::write(folder.join("memory.max"), &memory).is_ok();
                    group.processes = fs::write(folder.join("pids.max"), &processes).is_ok();
                    group.folders.push(folder);
                }
            }
            return group;
        }
        group.memory = group.add(&own, &name, "memory", ("memory.limit_in_bytes", &memory));
        group.processes = group.add(&own, &name, "pids", ("pids.max", &processes));
        group
    }

    /// Makes the group of one controller in the old layout; whether its bound is set.
    fn add(&mut self, own: &str, name: &str, controller: &str, bound: (&str, &str)) -> bool {
        let mut places = own.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|it| it == controller).then_some(path)
        });
        let Some(path) = places.next() else { return false };
        let folder = Path::new(ROOT).join(controller).join(path.trim_start_matches('/')).join(name);
        if fs::create_dir(&folder).is_err() {
            return false;
        }
        let is_bounded = fs::write(folder.join(bound.0), bound.1).is_ok();
        self.folders.push(folder);
        is_bounded
    }

    /// Takes a process in, with all it starts from here on.
    ///
    /// # Errors
    /// When a group does not take it: it would not be bounded.
    pub(super) fn take(&self, pid: Pid) -> io::Result<()> {
        let pid = pid.as_raw_nonzero().to_string();
        self.folders.iter().try_for_each(|folder| fs::write(folder.join(MEMBERS), &pid))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = fs::remove_dir(folder) {
                tracing::debug!(%error, "a control group could not be removed");
            }
        }
    }
}

/// The group in which groups with these controllers can be made: the gateway's own, or the one above where a service
/// is delegated a tree and the gateway put in a part of it.
fn parent(own: &str) -> Option<PathBuf> {
    let own = Path::new(ROOT).join(own.trim_start_matches('/'));
    own.ancestors().take(2).find(|folder| folder.starts_with(ROOT) && gives(folder)).map(Path::to_owned)
}

fn gives(folder: &Path) -> bool {
    let control = folder.join("cgroup.subtree_control");
    let has = || {
        fs::read_to_string(&control).is_ok_and(|controllers| {
            ["memory", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|it| it == *wanted))
        })
    };
    // Refused where processes are in the group itself, or somebody else owns it.
    has() || (fs::write(&control, "+memory +pids").is_ok() && has())
}
