//! A program that runs, and everything it started.

use std::{io, os::fd::OwnedFd, path::Path, process::ExitStatus, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncReadExt as _, Interest, unix::AsyncFd},
    net::unix::pipe::Receiver,
    process::Child,
    time::timeout,
};

use super::{
    ENVIRONMENT, Job, Kind, Limits, StartFault,
    bubblewrap::Plan,
    cgroup::Group,
    limits::{Uncounted, bound},
    masks::Masks,
    process::{self, Launch},
    set_up::{self, SetUp},
};

/// How long the words about a sandbox that was not set up may take.
const WORDS: Duration = Duration::from_secs(1);
/// Bytes of them.
const WORDS_BYTES: u64 = 4096;
/// How long killed processes may take to be gone; they run no more code of their own.
const GONE: Duration = Duration::from_secs(4);

/// A program that runs. Dropping it kills it with everything it started, and waits until all of that is gone.
pub(crate) struct Program {
    /// What was started here: the sandbox's watcher, or the program itself where there is none.
    child: Child,
    /// The first process of the sandbox: when it ends, the kernel ends all others in there.
    pub(crate) first: First,
    /// Without a sandbox, the group the program's processes are in, if they did not leave it.
    group: Option<Pid>,
    /// What it writes, errors included, in order.
    pub(crate) output: Receiver,
    /// Where bubblewrap goes on to say things; without a reader it would end, and the program with it.
    _status: Option<Receiver>,
    // Given back when the processes are gone.
    _bounds: Group,
    _masks: Option<Masks>,
}

/// The process whose end is the end of a program, and in a sandbox of everything it started.
pub(crate) struct First(AsyncFd<OwnedFd>);

impl First {
    #[expect(
        deprecated,
        reason = "what takes its place is unsafe; a descriptor that is owned here is what it asks for"
    )]
    fn new(pid: Pid) -> io::Result<Self> {
        AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE).map(Self)
    }

    /// Waits until it is gone. Giving up waiting changes nothing.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

impl Program {
    pub(super) async fn start(kind: &Kind, job: &Job<'_>) -> Result<Self, StartFault> {
        match kind {
            Kind::Bubblewrap(path) => Self::confined(path, job).await,
            Kind::Open => Self::open(job),
        }
    }

    async fn confined(bubblewrap: &Path, job: &Job<'_>) -> Result<Self, StartFault> {
        let masks = Masks::hold(job.workspace)?;
        let mut plan = Plan::new(job, &masks)?;
        let (output, writer) = pipe()?;
        let (status, status_writer) = pipe()?;
        let (gate, opener) = io::pipe()?;
        plan.hand_on("--json-status-fd", status_writer.into());
        // The program does not begin before it is bounded.
        plan.hand_on("--block-fd", gate.into());
        plan.command(job.argv);
        let launch = Launch {
            program: bubblewrap,
            arguments: plan.arguments,
            environment: &[],
            folder: Path::new("/"),
            output: writer,
            inherited: plan.inherited,
        };
        let mut set_up = SetUp::new(process::start(launch)?, status);
        let mut output = output;
        let Some(pid) = set_up.first().await else {
            return Err(StartFault::SetUp(words(&mut output).await));
        };
        let begun = First::new(pid).and_then(|first| Ok((first, bounded(pid, job.limits, true)?)));
        let (first, bounds) = match begun {
            Ok(begun) => begun,
            // It ended before it was bounded, and said why.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(StartFault::SetUp(words(&mut output).await));
            }
            Err(error) => return Err(error.into()),
        };
        let Some((child, status)) = set_up.done() else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        drop(opener);
        let (status, masks) = (Some(status), Some(masks));
        Ok(Self { child, first, group: None, output, _status: status, _bounds: bounds, _masks: masks })
    }

    fn open(job: &Job<'_>) -> Result<Self, StartFault> {
        let Some((program, arguments)) = job.argv.split_first() else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        };
        let (output, writer) = pipe()?;
        let folder = job.workspace.path().join(job.folder);
        let launch = Launch {
            program: Path::new(program),
            arguments: arguments.iter().map(Into::into).collect(),
            environment: ENVIRONMENT,
            folder: &folder,
            output: writer,
            inherited: Vec::new(),
        };
        let child = process::start(launch)?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.ok_or(io::ErrorKind::NotFound).map_err(io::Error::from)?;
        let first = First::new(pid)?;
        let bounds = bounded(pid, job.limits, false)?;
        Ok(Self { child, first, group: Some(pid), output, _status: None, _bounds: bounds, _masks: None })
    }

    /// Kills everything at once.
    pub(crate) fn kill(&mut self) {
        // What is gone already cannot be killed, and need not be.
        let _ = pidfd_send_signal(self.first.0.get_ref(), Signal::KILL);
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        drop(self.child.start_kill());
    }

    /// Waits for the end of the program and of everything it started, and says how it ended.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(crate) async fn end(mut self) -> io::Result<ExitStatus> {
        // Before anybody is asked for the exit code: until then no other process can have these numbers.
        self.first.gone().await?;
        self.kill();
        self.group = None;
        match timeout(GONE, self.child.wait()).await {
            Ok(ended) => ended,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        // The rest of the call counts on nothing being left; killed processes are gone in some milliseconds.
        set_up::wait_until_gone(self.first.0.get_ref());
    }
}

/// A pipe whose end here is read by tasks.
fn pipe() -> io::Result<(Receiver, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((Receiver::from_owned_fd(reader.into())?, writer))
}

/// What was written about a sandbox that was not set up.
async fn words(output: &mut Receiver) -> String {
    let mut bytes = Vec::new();
    // Nothing written is an answer too.
    drop(timeout(WORDS, output.take(WORDS_BYTES).read_to_end(&mut bytes)).await);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Bounds a process before it begins. In a namespace of its own its processes are counted apart from the user's others;
/// without one, they are bounded where a control group counts them.
fn bounded(pid: Pid, limits: &Limits, is_apart: bool) -> io::Result<Group> {
    let group = Group::new(limits);
    group.take(pid)?;
    if is_apart && !group.processes && rustix::process::geteuid().is_root() {
        let text = "the number of processes root starts is bounded by control groups only, and none can be made \
                    here: run the gateway as a user of its own";
        return Err(io::Error::other(text));
    }
    bound(pid, limits, &Uncounted { memory: !group.memory, processes: is_apart })?;
    Ok(group)
}
