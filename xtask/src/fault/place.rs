//! A data folder of its own for each campaign, and the server that runs on it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::{Campaign, api::Api, wait::wait_for};
use crate::shell::Failed;

/// Longest wait for a server to answer, and for one to end.
const START: Duration = Duration::from_secs(30);
/// Lines of the server's log that are shown of one that did wrong.
const SHOWN: usize = 12;

/// A folder that is removed, with a data folder in it.
pub(super) struct Place {
    folder: TempDir,
    binary: PathBuf,
    data: PathBuf,
}

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    /// A program that stands between, and its arguments.
    pub(super) before: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
}

/// A server's process. Dropping it kills it.
pub(super) struct Server {
    child: Child,
    announced: PathBuf,
    key: PathBuf,
    log: PathBuf,
    began: Instant,
}

/// What a server leaves in its data folder while it runs.
#[derive(Deserialize)]
struct Announced {
    url: String,
}

impl Place {
    pub(super) fn new(campaign: &Campaign) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("fault-").tempdir_in(&campaign.folder);
        let folder = folder.map_err(|e| Failed::cannot(format!("a folder to work in: {e}")))?;
        let data = folder.path().join("data");
        Ok(Self { folder, binary: campaign.binary.clone(), data })
    }

    /// The folder all of it is in.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Has the data lie elsewhere.
    pub(super) fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    pub(super) fn database(&self) -> PathBuf {
        self.data.join("moongate.db")
    }

    /// A running server that answers.
    pub(super) fn serve(&self) -> Result<(Server, Api), Failed> {
        self.serve_as(&How::default())
    }

    pub(super) fn serve_as(&self, how: &How) -> Result<(Server, Api), Failed> {
        let mut server = self.start(how)?;
        match server.ready()? {
            Some(api) => Ok((server, api)),
            None => Err(server.fault("it ended before it answered")),
        }
    }

    /// Starts a server and does not wait for it.
    ///
    /// Call it on the main thread: the server ends with the thread that started it.
    pub(super) fn start(&self, how: &How) -> Result<Server, Failed> {
        let (announced, log) = (self.data.join("server.json"), self.path().join("log"));
        // Left by one that was killed; without it, what appears there is news.
        fs::remove_file(&announced).ok();
        let mut command = self.command(how, &["serve", "--listen", "127.0.0.1:0", "--log", "warn"]);
        let output = append(&log)?;
        let errors = output.try_clone().map_err(|e| Failed::cannot(e.to_string()))?;
        command.stdout(output).stderr(errors);
        let began = Instant::now();
        let child = command.spawn().map_err(|e| Failed::cannot(format!("cannot start {command:?}: {e}")))?;
        Ok(Server { child, announced, key: self.data.join("admin.key"), log, began })
    }

    /// Has the doctor look at the store while no server runs; gives the counts.
    pub(super) fn check(&self) -> Result<String, Failed> {
        let output = self.command(&How::default(), &["doctor", "--check", "--json"]).output();
        let output = output.map_err(|e| Failed::cannot(format!("cannot run the doctor: {e}")))?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let of_store: Vec<Value> =
            findings.into_iter().filter(|finding| finding["about"] == "store").collect();
        match of_store.as_slice() {
            [finding] if finding["verdict"] == "good" => {
                Ok(finding["text"].as_str().unwrap_or_default().to_owned())
            }
            _ => Err(Failed::new(format!(
                "the doctor: {of_store:?} {}",
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    }

    fn command(&self, how: &How, arguments: &[&str]) -> Command {
        // The program ends when we do, however we end.
        let words: Vec<OsString> = how
            .before
            .iter()
            .cloned()
            .chain(["setpriv", "--pdeathsig", "KILL"].map(OsString::from))
            .chain([self.binary.clone().into()])
            .collect();
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(arguments).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("MOONGATE_DATA", &self.data);
        command.envs(how.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Server {
    /// Waits until it answers; nothing when it ended before.
    pub(super) fn ready(&mut self) -> Result<Option<Api>, Failed> {
        let answer = wait_for(START, || match self.child.try_wait() {
            Ok(None) => self.first_answer().map(Some),
            _ => Some(None),
        });
        answer.ok_or_else(|| self.fault("it does not answer"))
    }

    fn first_answer(&self) -> Option<Api> {
        let announced: Announced = serde_json::from_slice(&fs::read(&self.announced).ok()?).ok()?;
        let at: SocketAddr = announced.url.strip_prefix("http://")?.parse().ok()?;
        let api = Api { at, key: fs::read_to_string(&self.key).ok()?.trim().to_owned() };
        // One whose store is read-only answers too, and says so.
        matches!(api.get("/readyz").ok()?.status, 200 | 503).then_some(api)
    }

    /// How long ago it was started.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use, in KiB.
    pub(super) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    pub(super) fn signal(&self, name: &str) -> Result<(), Failed> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failed::new(format!("the server could not be sent {name}"))),
        }
    }

    /// Ends it without warning.
    pub(super) fn kill(mut self) {
        self.end();
    }

    /// Waits until it ends by itself.
    pub(super) fn wait(&mut self, most: Duration) -> Result<ExitStatus, Failed> {
        let ended = wait_for(most, || self.child.try_wait().ok().flatten());
        ended.ok_or_else(|| self.fault(&format!("it did not end in {most:?}")))
    }

    /// Asks it to stop and expects it to end well.
    pub(super) fn stop(mut self) -> Result<(), Failed> {
        self.signal("TERM")?;
        let status = self.wait(START)?;
        if status.success() { Ok(()) } else { Err(self.fault(&format!("it ended with {status}"))) }
    }

    /// What is wrong with it, and the end of its log.
    pub(super) fn fault(&self, what: &str) -> Failed {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
        Failed::new(format!("the server: {what}\n  {}", last.join("\n  ")))
    }

    fn end(&mut self) {
        // It may have ended already; either way there is nothing left of it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A new place with the data of one on which no server runs.
pub(super) fn copy_data(campaign: &Campaign, of: &Place) -> Result<Place, Failed> {
    let place = Place::new(campaign)?;
    let copied = copy_folder(of.data(), place.data());
    copied.map(|()| place).map_err(|e| Failed::cannot(format!("a copy of the data: {e}")))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // The index of the log is of no use after a crash.
        if entry.file_type()?.is_file() && entry.path().extension().is_none_or(|end| end != "db-shm") {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn append(path: &Path) -> Result<File, Failed> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|e| Failed::cannot(format!("{}: {e}", path.display())))
}
