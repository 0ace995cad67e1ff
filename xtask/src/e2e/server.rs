//! A server that others wrote, running for as long as we look at it.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::PLACE;
use crate::shell::{Failed, report};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(60);

/// Between two looks whether it listens.
const LOOK: Duration = Duration::from_millis(50);

/// Lines of its output that wait to be read while it starts; what comes beyond is in its log only.
const LINES: usize = 256;

/// Lines shown of a server that did not start.
const SHOWN: usize = 20;

/// Starts a program, and ends it and all it started when our end of the pipe closes, which it does however we
/// end: killed, too. It outlives the first signal it sends to its group, to see the program off.
const KEEPER: &str = r#"
"$@" </dev/null &
trap : TERM INT HUP
exec >/dev/null 2>&1
read -r _
kill -TERM 0
wait
kill -KILL 0
"#;

/// A running server. Dropping it ends it.
pub(super) struct Server {
    port: u16,
    keeper: Child,
    /// Closing it ends the server.
    pipe: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free loopback port and waits until it listens. What it says goes to a log.
    pub(super) fn start(name: &str, command: impl FnOnce(u16) -> Command) -> Result<Self, Failed> {
        let cannot = |what: &str, e| Failed::cannot(format!("cannot {what} {name}: {e}"));
        let port = free_port().map_err(|e| cannot("find a port for", e))?;
        let log = PathBuf::from(PLACE).join(format!("{name}.log"));
        let file = File::create(&log).map_err(|e| cannot("write the log of", e))?;
        let mut keeper = keeper(&command(port)).spawn().map_err(|e| cannot("start", e))?;
        let (sender, lines) = sync_channel(LINES);
        let reader = keeper
            .stdout
            .take()
            .map(|output| std::thread::spawn(move || keep_lines(BufReader::new(output), file, &sender)));
        let server = Self { port, pipe: keeper.stdin.take(), keeper, reader };
        server.wait(name, &lines)?;
        report(&format!("{name} listens on {} (log: {})", server.address(), log.display()));
        Ok(server)
    }

    /// Its port on the loopback.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its base address.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn wait(&self, name: &str, lines: &Receiver<String>) -> Result<(), Failed> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let begun = Instant::now();
        let mut last = VecDeque::new();
        while begun.elapsed() < START {
            match lines.recv_timeout(LOOK) {
                Ok(line) => {
                    last.push_back(line);
                    if last.len() > SHOWN {
                        last.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failed::cannot(format!("{name} ended at once:\n{}", joined(&last))));
                }
            }
            if TcpStream::connect_timeout(&address, LOOK).is_ok() {
                return Ok(());
            }
        }
        Err(Failed::cannot(format!("{name} does not listen after {START:?}:\n{}", joined(&last))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Its output ends with it, and so does the thread that reads it. Nothing of it is needed any more.
        let _ended = self.keeper.wait();
        if let Some(reader) = self.reader.take() {
            let _read = reader.join();
        }
    }
}

fn keeper(command: &Command) -> Command {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", &format!("exec 2>&1\n{KEEPER}"), "keeper"]);
    keeper.arg(command.get_program()).args(command.get_args());
    keeper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    keeper
}

fn keep_lines(output: impl BufRead, mut log: File, lines: &SyncSender<String>) {
    for line in output.lines().map_while(Result::ok) {
        // A log that cannot be written costs nothing but the log; lines nobody waits for are in it.
        let _written = writeln!(log, "{line}");
        let _waited_for = lines.try_send(line);
    }
}

fn joined(lines: &VecDeque<String>) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// A port nobody listens on now. Another program may take it before ours does: then the start fails, loudly.
fn free_port() -> std::io::Result<u16> {
    fs::create_dir_all(PLACE)?;
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
