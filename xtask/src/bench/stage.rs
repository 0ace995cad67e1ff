//! Everything a measure needs: built programs, a folder that is removed, servers on cores of their own.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{
    child::{Running, Starters},
    http,
};
use crate::shell::{self, Failed, report};

/// The core of the server that is measured.
const SERVER_CORE: usize = 0;
/// The core of the model and the clients.
const LOAD_CORE: usize = 1;
/// The model of most measures: twenty tokens, at once.
pub(super) const MODEL: &str = "mock-20t-0ms";
/// Longest wait for a server's first answer.
const START_MOST: Duration = Duration::from_secs(20);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(1);

/// How long and how often things are measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) idle_clients: usize,
    pub(super) stored_sessions: usize,
    pub(super) pairs: usize,
}

impl Effort {
    pub(super) const QUICK: Self =
        Self { rounds: 1, seconds: 1.5, idle_clients: 200, stored_sessions: 10_000, pairs: 24 };
    pub(super) const FULL: Self =
        Self { rounds: 5, seconds: 4.0, idle_clients: 1_000, stored_sessions: 100_000, pairs: 120 };
}

/// The stage.
pub(super) struct Stage {
    pub(super) effort: Effort,
    starters: Starters,
    tools: PathBuf,
    moongate: PathBuf,
    folder: TempDir,
    folders: AtomicUsize,
    upstream: SocketAddr,
    _model: Running,
}

/// A server that is measured.
pub(super) struct Server {
    pub(super) at: SocketAddr,
    pub(super) key_file: Option<PathBuf>,
    running: Running,
}

/// A library that counts the flushes of the program it is loaded into.
pub(super) struct Counting {
    library: PathBuf,
}

/// The same, with the file the number goes to.
pub(super) struct Counted {
    library: PathBuf,
    count: PathBuf,
}

impl Counting {
    pub(super) fn onto(&self, count: &Path) -> Counted {
        Counted { library: self.library.clone(), count: count.to_path_buf() }
    }
}

/// What Moongate leaves in its data folder while it runs.
#[derive(Deserialize)]
struct Announced {
    url: String,
}

impl Stage {
    pub(super) fn prepare(effort: Effort, binary: Option<&Path>, build: bool) -> Result<Self, Failed> {
        if build {
            build_programs(binary.is_none())?;
        }
        let target = target_folder()?;
        let tools = target.join("release/moongate-bench");
        let moongate = binary.map_or_else(|| target.join("release/moongate"), Path::to_path_buf);
        if let Some(missing) = [&tools, &moongate].into_iter().find(|program| !program.is_file()) {
            return Err(Failed::cannot(format!("there is no {}", missing.display())));
        }
        // Beside the checkout and not where the system keeps temporary files: those may lie in memory.
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&target);
        let folder = folder.map_err(|e| Failed::cannot(format!("a folder to work in: {e}")))?;
        let starters = Starters::find();
        report(&format!("found: {starters:?}"));
        let command = starters.command(LOAD_CORE, &[tools.clone().into(), "upstream".into()]);
        let (model, line) = Running::start_and_hear(command)?;
        let upstream = address(&line)?;
        Ok(Self { effort, starters, tools, moongate, folder, folders: 0.into(), upstream, _model: model })
    }

    /// A baseline, durable or not.
    pub(super) fn baseline(&self, durable: bool, counted: Option<&Counted>) -> Result<Server, Failed> {
        let folder = self.fresh_folder()?;
        let store = if durable { "wal-full" } else { "none" };
        let mut words: Vec<OsString> = vec![self.tools.clone().into()];
        words.extend(
            ["baseline", "--upstream", &self.upstream.to_string(), "--store", store].map(OsString::from),
        );
        words.extend(["--db".into(), folder.join("baseline.db").into()]);
        let command = self.server_command(&words, counted);
        let (running, line) = Running::start_and_hear(command)?;
        Ok(Server { at: address(&line)?, key_file: None, running })
    }

    /// Moongate on a data folder; a new one unless one is given. Also says how long its first answer took.
    pub(super) fn moongate(
        &self,
        data: Option<&Path>,
        counted: Option<&Counted>,
    ) -> Result<(Server, Duration), Failed> {
        self.moongate_with(MODEL, data, counted)
    }

    /// The same, and who names no model gets this one.
    pub(super) fn moongate_with(
        &self,
        model: &str,
        data: Option<&Path>,
        counted: Option<&Counted>,
    ) -> Result<(Server, Duration), Failed> {
        let data = data.map_or_else(|| self.fresh_folder(), |data| Ok(data.to_path_buf()))?;
        let config = data.with_extension("toml");
        let cannot = |e| Failed::cannot(format!("{}: {e}", config.display()));
        fs::write(&config, configuration(self.upstream, model)).map_err(cannot)?;
        let announced = data.join("server.json");
        // Left by one that was killed; without it, what appears there is news.
        fs::remove_file(&announced).ok();
        let mut words: Vec<OsString> = vec![self.moongate.clone().into(), "serve".into()];
        words.extend(["--config".into(), config.into(), "--data".into(), data.clone().into()]);
        words.extend(["--listen", "127.0.0.1:0", "--log", "warn"].map(OsString::from));
        let began = Instant::now();
        let mut running = Running::start(self.server_command(&words, counted))?;
        let key_file = data.join("admin.key");
        loop {
            if let Some(at) = first_answer(&announced, &key_file) {
                return Ok((Server { at, key_file: Some(key_file), running }, began.elapsed()));
            }
            if running.is_over() || began.elapsed() > START_MOST {
                return Err(Failed::new("moongate did not start"));
            }
            pause(LOOK);
        }
    }

    fn server_command(&self, words: &[OsString], counted: Option<&Counted>) -> Command {
        let mut command = self.starters.command(SERVER_CORE, words);
        if let Some(Counted { library, count }) = counted {
            command.env("LD_PRELOAD", library).env("FLUSH_COUNT", count);
        }
        command
    }

    /// What counts a server's flushes; nothing where programs cannot be loaded into others so.
    pub(super) fn counting(&self) -> Result<Option<Counting>, Failed> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let library = self.fresh_folder()?.join("flushes.so");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "crates/bench/flushes.c", "-ldl", "-o"]).arg(&library);
        shell::run(&mut compile)?;
        Ok(Some(Counting { library }))
    }

    /// Runs one of our own programs to its end and gives what it said.
    pub(super) fn run_tool(&self, words: &[OsString], most: Duration) -> Result<String, Failed> {
        let mut program: Vec<OsString> = vec![self.tools.clone().into()];
        program.extend_from_slice(words);
        Running::read(self.starters.command(LOAD_CORE, &program), most)
    }

    /// An empty folder that is gone with the stage.
    pub(super) fn fresh_folder(&self) -> Result<PathBuf, Failed> {
        let folder = self.folder.path().join(self.folders.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&folder).map_err(|e| Failed::cannot(format!("{}: {e}", folder.display())))?;
        Ok(folder)
    }

    /// The middle delay of the model's first tokens since the last reset, as it saw itself.
    pub(super) fn model_delay_ms(&self) -> Option<f64> {
        #[derive(Deserialize)]
        struct Stats {
            first_token_ms_p50: Option<f64>,
        }
        let stats: Stats = serde_json::from_str(&http::get(self.upstream, "/stats", None)?).ok()?;
        stats.first_token_ms_p50
    }

    pub(super) fn reset_model(&self) {
        // A reset that failed shows in the figures it leaves.
        http::post(self.upstream, "/reset");
    }
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Milliseconds until a question is answered; nothing when it is not answered well.
    pub(super) fn answers_in_ms(&self, path: &str) -> Option<f64> {
        let key = fs::read_to_string(self.key_file.as_ref()?).ok()?;
        let began = Instant::now();
        http::get(self.at, path, Some(key.trim()))?;
        Some(began.elapsed().as_secs_f64() * 1e3)
    }

    pub(super) fn is_moongate(&self) -> bool {
        self.key_file.is_some()
    }

    /// How the server calls one of the mock's models.
    pub(super) fn model(&self, name: &str) -> String {
        if self.key_file.is_some() { format!("mock/{name}") } else { name.to_owned() }
    }

    /// Memory in MB.
    pub(super) fn rss_mb(&self) -> Option<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    }
}

fn build_programs(with_moongate: bool) -> Result<(), Failed> {
    report("== build");
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--release", "-p", "moongate-bench"]);
    if with_moongate {
        build.args(["-p", "moongate"]);
    }
    shell::run(&mut build)
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf, Failed> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let said = shell::read(shell::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Metadata =
        serde_json::from_str(&said).map_err(|e| Failed::cannot(format!("cargo metadata: {e}")))?;
    Ok(metadata.target_directory)
}

/// One key stands for all clients: its shares are no bound here.
fn configuration(upstream: SocketAddr, model: &str) -> String {
    let shares = "inputs_per_minute = 4000000, sockets_per_key = 10000";
    format!(
        "[providers.mock]\nkind = \"openai-chat\"\nbase_url = \"http://{upstream}/v1\"\n\n\
         [agents.default]\nmodel = \"mock/{model}\"\n\n\
         [limits]\nturns_per_caller = 1024\nturns_per_node = 1024\n\n\
         [doors.openai]\nlimits = {{ {shares} }}\n\n\
         [doors.construct]\nlimits = {{ {shares}, turns_per_key = 1024 }}\n\n\
         [doors.orra]\nlimits = {{ {shares}, turns_per_key = 1024 }}\n\n\
         [doors.oxios]\nrequests_per_minute = 0\n"
    )
}

/// Where the server listens, once it answered a question that needs its key and its store.
fn first_answer(announced: &Path, key_file: &Path) -> Option<SocketAddr> {
    let announced: Announced = serde_json::from_str(&fs::read_to_string(announced).ok()?).ok()?;
    let at = announced.url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    let key = fs::read_to_string(key_file).ok()?;
    http::get(at, "/api/v1/sessions?limit=1", Some(key.trim())).map(|_| at)
}

fn address(line: &str) -> Result<SocketAddr, Failed> {
    let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
    address.ok_or_else(|| Failed::new(format!("`{line}` does not say where it listens")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime here, and nothing tells when another program is ready"
)]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}
