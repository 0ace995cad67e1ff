//! A sandbox that is being made. For that time its first process does not die with the one that makes it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::Deserialize;
use tokio::{net::unix::pipe::Receiver, process::Child, time::timeout};

/// How long setting up a sandbox may take; it is some milliseconds.
const SET_UP: Duration = Duration::from_secs(10);
/// Bytes bubblewrap says about it.
const STATUS_BYTES: usize = 4096;
/// How long killed processes may take to be gone; they run no more code of their own.
const GONE: Duration = Duration::from_secs(4);

/// A sandbox that is being made. Dropping it ends that, with whatever is there already.
pub(super) struct SetUp {
    parts: Option<(Child, Receiver)>,
    said: Vec<u8>,
}

/// What bubblewrap says about the sandbox, on its first line.
#[derive(Deserialize)]
struct Status {
    #[serde(rename = "child-pid")]
    child: i32,
}

impl SetUp {
    /// Bubblewrap as it was started, and where it says how far it is.
    pub(super) fn new(child: Child, status: Receiver) -> Self {
        Self { parts: Some((child, status)), said: Vec::new() }
    }

    /// The sandbox's first process, as soon as there is one; nothing when there will be none.
    pub(super) async fn first(&mut self) -> Option<Pid> {
        timeout(SET_UP, self.hear()).await.ok().flatten()
    }

    /// It is made, and what is left is the caller's to end.
    pub(super) fn done(mut self) -> Option<(Child, Receiver)> {
        self.parts.take()
    }

    async fn hear(&mut self) -> Option<Pid> {
        let (_, status) = self.parts.as_ref()?;
        loop {
            if let Some(pid) = pid(&self.said) {
                return Some(pid);
            }
            status.readable().await.ok()?;
            let mut piece = [0; STATUS_BYTES];
            match status.try_read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => self.said.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for SetUp {
    fn drop(&mut self) {
        let Some((child, status)) = &mut self.parts else { return };
        // Its number first: with its maker gone, nobody would ever say it.
        let until = Instant::now() + GONE;
        while pid(&self.said).is_none() && is_ready(status.as_fd(), until) {
            let mut piece = [0; STATUS_BYTES];
            match rustix::io::read(&*status, &mut piece) {
                Ok(0) => break,
                Ok(length) => self.said.extend_from_slice(&piece[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => break,
            }
        }
        let maker = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let there = [pid(&self.said), maker].into_iter().flatten();
        // The maker was not waited for, so these numbers are still theirs.
        let all: Vec<OwnedFd> = there.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect();
        for process in &all {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        all.iter().for_each(wait_until_gone);
    }
}

/// Waits until a killed process is gone, in the way of whoever drops it: some milliseconds.
pub(super) fn wait_until_gone(process: &OwnedFd) {
    if !is_ready(process.as_fd(), Instant::now() + GONE) {
        tracing::error!("processes of a call are still there though they were killed");
    }
}

fn is_ready(descriptor: impl AsFd, until: Instant) -> bool {
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        let mut one = [PollFd::new(&descriptor, PollFlags::IN)];
        match poll(&mut one, left.as_ref()) {
            // A child that ended interrupts it.
            Err(Errno::INTR) => {}
            ready => return ready == Ok(1),
        }
    }
}

/// The number on the first line, once that is whole.
fn pid(said: &[u8]) -> Option<Pid> {
    let line = said.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"))?;
    let status: Status = serde_json::from_slice(line).ok()?;
    Pid::from_raw(status.child)
}
