//! What bubblewrap is told: namespaces of its own, the system read-only, the workspace, and nothing else.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    FOLDER, HOME, Job,
    limits::TEMPORARY_BYTES,
    masks::{Masks, Shown},
    seccomp,
};

/// Where it is installed. Not looked for in `PATH`: what it is decides what every command may do.
const PLACES: &[&str] =
    &["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap", "/run/current-system/sw/bin/bwrap"];
/// The user a program is inside, whoever the gateway is.
const USER: &str = "1000";
/// Who that is.
const USERS: &str = "agent:x:1000:1000::/home:/bin/sh\n";
/// Which groups there are.
const GROUPS: &str = "agent:x:1000:\n";
/// Folders of the system that are links into `/usr` on some systems and folders on others.
const SYSTEM: &[&str] = &["bin", "sbin", "lib", "lib64", "lib32", "libx32"];
/// What programs read of `/etc`: how libraries are found, names, certificates. No secret, no account.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "fonts",
    "gai.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/tls/certs",
    "protocols",
    "python3",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Where bubblewrap is installed, if it is.
pub(super) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Its arguments, and what it reads from descriptors.
pub(super) struct Plan {
    pub(super) arguments: Vec<OsString>,
    pub(super) inherited: Vec<OwnedFd>,
}

impl Plan {
    /// Everything but the command.
    ///
    /// # Errors
    /// When there is no room for the descriptors.
    pub(super) fn new(job: &Job<'_>, masks: &Masks) -> io::Result<Self> {
        let mut plan = Self { arguments: Vec::new(), inherited: Vec::new() };
        // With `--disable-userns` it has to be said that users are a namespace of their own.
        plan.add(["--unshare-all", "--unshare-user", "--disable-userns", "--uid", USER, "--gid", USER]);
        plan.add(["--new-session", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "moongate"]);
        plan.add(["--clearenv"]);
        for (name, value) in super::ENVIRONMENT {
            plan.add(["--setenv", name, value]);
        }
        plan.system()?;
        for path in job.readable {
            plan.add([OsStr::new("--ro-bind"), path.as_ref(), path.as_ref()]);
        }
        plan.own();
        plan.workspace(job, masks);
        plan.seal();
        plan.add_data("--seccomp", &seccomp::filter().map_err(io::Error::other)?)?;
        Ok(plan)
    }

    /// Hands on a descriptor under an option.
    pub(super) fn hand_on(&mut self, option: &str, descriptor: OwnedFd) {
        self.add([option, &descriptor.as_raw_fd().to_string()]);
        self.inherited.push(descriptor);
    }

    /// The arguments, with the command at their end.
    pub(super) fn command(&mut self, argv: &[String]) {
        self.add(["--"]);
        self.add(argv);
    }

    fn add<T: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = T>) {
        self.arguments.extend(arguments.into_iter().map(|it| it.as_ref().to_owned()));
    }

    /// Hands on bytes as a file that is read once.
    fn add_data(&mut self, option: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(memfd_create("moongate", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        file.rewind()?;
        self.hand_on(option, file.into());
        Ok(())
    }

    fn system(&mut self) -> io::Result<()> {
        self.add(["--ro-bind", "/usr", "/usr"]);
        for name in SYSTEM {
            let path = Path::new("/").join(name);
            match fs::read_link(&path) {
                Ok(target) => self.add([OsStr::new("--symlink"), target.as_ref(), path.as_ref()]),
                Err(_) if path.is_dir() => {
                    self.add([OsStr::new("--ro-bind"), path.as_ref(), path.as_ref()]);
                }
                Err(_) => {}
            }
        }
        for name in ETC {
            let path = Path::new("/etc").join(name);
            self.add([OsStr::new("--ro-bind-try"), path.as_ref(), path.as_ref()]);
        }
        for (text, path) in [(USERS, "/etc/passwd"), (GROUPS, "/etc/group")] {
            self.add_data("--ro-bind-data", text.as_bytes())?;
            self.add([path]);
        }
        Ok(())
    }

    /// What is the sandbox's own: devices, processes, temporary folders.
    fn own(&mut self) {
        let bytes = TEMPORARY_BYTES.to_string();
        self.add(["--dev", "/dev", "--size", &bytes, "--tmpfs", "/dev/shm", "--proc", "/proc"]);
        for folder in ["/tmp", HOME] {
            self.add(["--size", &bytes, "--tmpfs", folder]);
        }
    }

    fn workspace(&mut self, job: &Job<'_>, masks: &Masks) {
        let (outside, inside) = (job.workspace.path(), Path::new(FOLDER));
        self.bind("--bind", outside, inside);
        for (name, shown) in &masks.names {
            let (from, to) = (outside.join(name), inside.join(name));
            match shown {
                Shown::Fixed => self.bind("--bind", &from, &to),
                Shown::ReadOnly => self.bind("--ro-bind", &from, &to),
                Shown::NoFile => self.bind("--ro-bind", Path::new("/dev/null"), &to),
                Shown::NoFolder => {
                    let to = to.as_ref();
                    self.add(["--perms", "0555", "--tmpfs"].map(OsStr::new));
                    self.add([to, OsStr::new("--remount-ro"), to]);
                }
            }
        }
        let start = inside.join(job.folder);
        // A path that ends in a slash would be what programs are told their folder is.
        let start = start.components().collect::<PathBuf>();
        self.add([OsStr::new("--chdir"), start.as_ref()]);
    }

    fn bind(&mut self, option: &str, from: &Path, to: &Path) {
        self.add([OsStr::new(option), from.as_ref(), to.as_ref()]);
    }

    /// Nothing but the workspace and the temporary folders can be written. `/proc` too: as root outside, a program is
    /// the owner of the kernel's settings there, whatever rights it dropped.
    fn seal(&mut self) {
        for folder in ["/proc", "/dev", "/"] {
            self.add(["--remount-ro", folder]);
        }
    }
}
