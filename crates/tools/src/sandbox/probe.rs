//! Whether the sandbox works here: found out by trying to get out of it.

use std::{
    env,
    fmt::Write as _,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, runtime::Builder, time::timeout};

use super::{Job, Kind, Limits, Program, Sandbox, StartFault, Unavailable, bubblewrap};
use crate::Workspace;

/// How long the probes may take; they are some milliseconds.
const PROBES: Duration = Duration::from_secs(10);
/// Bytes of their answer.
const ANSWER_BYTES: u64 = 4096;
/// What they say when all were tried.
const DONE: &str = "done";

/// What must not work in a sandbox, each as a line of shell. `$1` is a file beside the workspace.
const ESCAPES: &[(&str, &str)] = &[
    ("read a file beside the workspace", r#"cat "$1""#),
    ("read accounts", "[ -e /etc/shadow ]"),
    (
        "write to the system",
        "echo > /usr/moongate-probe || echo > /moongate-probe || echo > /etc/moongate-probe",
    ),
    ("change settings of the kernel", "exec 3>> /proc/sys/vm/swappiness"),
    ("write a protected name", "echo > .mcp.json || mkdir .git/hooks || mkdir .vscode/x"),
    (
        "reach a network",
        "while read -r name rest; do case $name in lo:|Inter*|face) ;; *) exit 0;; esac; done </proc/net/dev; false",
    ),
    ("make a namespace", "unshare --user true"),
    (
        "keep rights",
        "while read -r name value; do case $name$value in CapEff:0000000000000000|NoNewPrivs:1|Seccomp:2) ;; \
         CapEff:*|NoNewPrivs:*|Seccomp:*) exit 0;; esac; done </proc/self/status; false",
    ),
];

/// Namespaces that have to be others than the gateway's.
const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// Finds what works here.
pub(super) fn find() -> Result<Sandbox, Unavailable> {
    let Some(path) = bubblewrap::find() else {
        let text = "bubblewrap is not installed: install the package that has `bwrap`";
        return Err(Unavailable(text.into()));
    };
    // A thread and a runtime of its own: whoever asks may be in one, which must not be held up by another.
    let tried = thread::scope(|scope| scope.spawn(|| try_out(&Kind::Bubblewrap(path.clone()))).join());
    match tried {
        Ok(Ok(escapes)) if escapes.is_empty() => Ok(Sandbox(Kind::Bubblewrap(path))),
        Ok(Ok(escapes)) => {
            let what = escapes.join(", ");
            Err(Unavailable(format!("bubblewrap does not keep programs in: in it they can {what}")))
        }
        Ok(Err(fault)) => {
            let advice = "it needs user namespaces, which containers and AppArmor may forbid";
            Err(Unavailable(format!("bubblewrap does not work here: {fault} ({advice})")))
        }
        Err(_) => Err(Unavailable("bubblewrap could not be tried".into())),
    }
}

/// What a program in the sandbox can do that it must not.
fn try_out(kind: &Kind) -> Result<Vec<String>, StartFault> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ground = Ground::new()?;
    let workspace = Workspace::at(ground.0.join("workspace"))?;
    let canary = ground.0.join("canary").display().to_string();
    let argv = ["/bin/sh", "-c", &script()?, "sh", &canary].map(str::to_owned);
    let limits = Limits::default();
    let job =
        Job { argv: &argv, workspace: &workspace, folder: Path::new(""), readable: &[], limits: &limits };
    let answer = runtime.block_on(async {
        let mut program = Program::start(kind, &job).await?;
        let mut answer = String::new();
        let mut output = (&mut program.output).take(ANSWER_BYTES);
        let in_time = timeout(PROBES, output.read_to_string(&mut answer)).await;
        if in_time.is_err() {
            program.kill();
        }
        program.end().await?;
        Ok::<_, StartFault>(answer)
    })?;
    match answer.trim_end().strip_suffix(DONE) {
        Some(escapes) => Ok(escapes.lines().map(str::to_owned).collect()),
        None => Err(StartFault::SetUp(answer.trim().to_owned())),
    }
}

fn script() -> io::Result<String> {
    let mut script = String::from("exec 2>/dev/null\n");
    for (what, escape) in ESCAPES {
        let _ = writeln!(script, "if ( {escape} ) >/dev/null; then echo '{what}'; fi");
    }
    for name in NAMESPACES {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        let own = own.display();
        let _ = writeln!(
            script,
            "case $(readlink /proc/self/ns/{name}) in ''|'{own}') echo 'be in the {name} namespace of the gateway';; esac"
        );
    }
    let _ = writeln!(script, ": > probe || echo 'not write to the workspace'\necho {DONE}");
    Ok(script)
}

/// A folder for the time of the probes.
struct Ground(PathBuf);

impl Ground {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let ground = Self(env::temp_dir().join(format!("moongate-probe-{}-{number}", process::id())));
        let mut folder = DirBuilder::new();
        folder.mode(0o700).create(&ground.0)?;
        folder.create(ground.0.join("workspace"))?;
        fs::write(ground.0.join("canary"), "canary")?;
        Ok(ground)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What cannot be removed is an empty folder among temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}
