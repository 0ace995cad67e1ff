//! `moongate doctor`: looks at everything and says what is wrong and what to do.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use moongate_core::{CheckReport, Models as _, StoreAdmin as _};
use moongate_protocol::ErrorCode;
use moongate_providers::{PriceTable, ProbeFault, Registry};
use moongate_store::SqliteStore;
use serde::Serialize;
use tokio::task::{JoinError, JoinSet};

use super::{
    mcp::{running, state},
    print_json,
};
use crate::{
    cli::{DoctorArgs, Remote},
    client::find_running,
    config::Config,
    context::Context,
    data::DataFolder,
    exit::{Failure, Outcome},
    terminal::{Style, clean},
};

/// Free bytes below which the disk is about to be full.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;
/// A clock before this time (2025) was never set.
const CLOCK_FLOOR_MILLIS: i64 = 1_735_689_600_000;
/// Providers that are asked at once: each is a connection, and each may take its time.
const PROBES: usize = 8;
/// Faults of the store that are listed.
const MAX_FAULTS: usize = 20;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// Worth knowing, no fault.
    Note,
    Bad,
}

/// What was found out about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    text: String,
}

#[derive(Default, Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, about: &'static str, verdict: Verdict, text: impl Into<String>) {
        self.findings.push(Finding { about, verdict, text: text.into() });
    }

    fn found(&mut self, about: &'static str, found: Result<String, String>) {
        match found {
            Ok(text) => self.add(about, Verdict::Good, text),
            Err(text) => self.add(about, Verdict::Bad, text),
        }
    }
}

/// Runs the doctor.
///
/// # Errors
/// When something is wrong.
pub(crate) async fn doctor(args: &DoctorArgs, context: &Context) -> Outcome {
    let mut findings = Findings::default();
    let config = match context.config() {
        Ok(config) => {
            let file = config
                .texts
                .file
                .as_ref()
                .map_or("no file, defaults".into(), |source| source.path.display().to_string());
            findings.add("config", Verdict::Good, file);
            Some(config)
        }
        Err(failure) => {
            findings.add("config", Verdict::Bad, failure.to_string());
            None
        }
    };
    let data = context.data()?;
    findings.found("data folder", folder(&data));
    findings.found("clock", clock());
    findings.found("disk", room(data.path()));
    let is_running = server(&data, &mut findings).await;
    if let Some(config) = &config {
        sandbox(config, &mut findings);
        store(args, config, is_running, &mut findings).await;
        providers(config, &mut findings).await;
        mcp(config, &data, &mut findings).await;
    }
    print(args, &findings, context)
}

fn folder(data: &DataFolder) -> Result<String, String> {
    if !data.path().exists() {
        return Ok(format!("{} is made at the first start", data.path().display()));
    }
    data.check_rights()?;
    let key = data.admin_key_path();
    if key.exists() {
        crate::data::read_key(&key).map_err(|failure| failure.to_string())?;
    }
    Ok(data.path().display().to_string())
}

fn clock() -> Result<String, String> {
    let now = moongate_core::Ids::default().now();
    if now.as_millis() < CLOCK_FLOOR_MILLIS {
        return Err(format!("this machine says it is {now}: set its clock"));
    }
    Ok(now.to_string())
}

fn room(data: &Path) -> Result<String, String> {
    let existing = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing).map_err(|error| format!("{}: {error}", existing.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} MiB free at {}", free / (1024 * 1024), existing.display());
    if free < LITTLE_ROOM {
        Err(format!("{text}: make room before the store cannot write"))
    } else {
        Ok(text)
    }
}

/// What keeps the commands of agents in.
fn sandbox(config: &Config, findings: &mut Findings) {
    let has_commands = config.agents.has_tool("shell");
    match config.agents.tools.shell.sandbox() {
        Ok(sandbox) if sandbox.confines() => {
            findings.add("sandbox", Verdict::Good, format!("{sandbox} keeps commands in"));
        }
        Ok(_) => {
            let text =
                "NONE: commands of agents may do whatever this user may ([tools.shell] sandbox is \"none\")";
            findings.add("sandbox", if has_commands { Verdict::Bad } else { Verdict::Note }, text);
        }
        Err(why) => findings.add("sandbox", Verdict::Note, format!("no agent can run commands: {why}")),
    }
}

/// Whether a server runs on the data folder.
async fn server(data: &DataFolder, findings: &mut Findings) -> bool {
    let client = match find_running(&Remote::default(), data).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            findings.add("server", Verdict::Note, "none runs on this data folder");
            return false;
        }
        Err(failure) => {
            findings.add("server", Verdict::Bad, failure.to_string());
            return false;
        }
    };
    let ready = client.get_root("/readyz").await;
    findings.found("server", ready.map(|_| client.base().to_owned()).map_err(|error| error.to_string()));
    true
}

async fn store(args: &DoctorArgs, config: &Config, is_running: bool, findings: &mut Findings) {
    if is_running {
        return store_in_use(args, config, findings).await;
    }
    if !config.store.join("moongate.db").exists() {
        return findings.add("store", Verdict::Note, "there is none yet");
    }
    let store = match SqliteStore::open(&config.store) {
        Ok(store) => store,
        Err(error) => return findings.add("store", Verdict::Bad, error.to_string()),
    };
    if args.rebuild {
        match store.rebuild().await {
            Ok(report) => report_on("rebuilt from the logs", &report, findings),
            Err(error) => findings.add("store", Verdict::Bad, error.to_string()),
        }
    }
    match store.check().await {
        Ok(report) => report_on("whole", &report, findings),
        Err(error) => findings.add("store", Verdict::Bad, error.to_string()),
    }
    store.close().await;
}

/// The store of a running server can be read, not changed.
async fn store_in_use(args: &DoctorArgs, config: &Config, findings: &mut Findings) {
    if args.rebuild {
        return findings.add("store", Verdict::Bad, "in use: stop the server to rebuild");
    }
    if !args.check {
        return findings.add("store", Verdict::Note, "in use; --check reads every log");
    }
    let folder = config.store.clone();
    match tokio::task::spawn_blocking(move || moongate_store::check_folder(&folder)).await {
        Ok(Ok(report)) => report_on("whole", &report, findings),
        Ok(Err(error)) => findings.add("store", Verdict::Bad, error.to_string()),
        Err(error) => findings.add("store", Verdict::Bad, error.to_string()),
    }
}

fn report_on(word: &str, report: &CheckReport, findings: &mut Findings) {
    let counts = format!("{} sessions, {} events", report.sessions, report.events);
    if report.faults.is_empty() {
        return findings.add("store", Verdict::Good, format!("{word}: {counts}"));
    }
    for (session, fault) in report.faults.iter().take(MAX_FAULTS) {
        let whose = session.map_or_else(String::new, |id| format!("{id}: "));
        findings.add("store", Verdict::Bad, format!("{whose}{fault}"));
    }
    let more = report.faults.len().saturating_sub(MAX_FAULTS);
    let advice =
        "derived lists: `moongate doctor --rebuild`; a damaged log: restore that session from a backup";
    findings.add("store", Verdict::Note, format!("{counts}, {more} more faults; {advice}"));
}

async fn providers(config: &Config, findings: &mut Findings) {
    if config.providers.is_empty() {
        return findings.add("models", Verdict::Note, "no provider is configured: builtin/demo answers");
    }
    let registry = match Registry::new(config.providers.iter().cloned(), PriceTable::default()) {
        Ok(registry) => registry,
        Err(faults) => {
            return faults.iter().for_each(|fault| findings.add("models", Verdict::Bad, fault.to_string()));
        }
    };
    let registry = Arc::new(registry);
    for (name, listed) in ask_all(config, &registry).await {
        match listed {
            Ok(models) => findings.add("models", Verdict::Good, format!("{name}: {} models", models.len())),
            Err(ProbeFault::NoList) => {
                let text = format!("{name}: answers, but has no list of models");
                findings.add("models", Verdict::Note, text);
            }
            Err(ProbeFault::Fault(fault)) => {
                let advice = match fault.code {
                    ErrorCode::ProviderAuth => ": look at its key",
                    _ => ": look at its base_url and the network",
                };
                findings.add(
                    "models",
                    Verdict::Bad,
                    format!("{name}: {} ({}){advice}", fault.message, fault.code),
                );
            }
        }
    }
    for agent in config.agents.by_name.values().filter(|agent| registry.get(&agent.model).is_none()) {
        findings.add(
            "models",
            Verdict::Bad,
            format!("agent {}: there is no model {}", agent.name, agent.model),
        );
    }
}

/// The MCP servers, as a running server sees them.
async fn mcp(config: &Config, data: &DataFolder, findings: &mut Findings) {
    if config.agents.mcp.is_empty() {
        return;
    }
    let servers = match running(data).await {
        Ok(Some(tools)) => tools.servers,
        Ok(None) => {
            return findings.add("mcp", Verdict::Note, "its servers are looked at while a server runs");
        }
        Err(failure) => return findings.add("mcp", Verdict::Bad, failure.to_string()),
    };
    for server in servers {
        let verdict = match server.state.as_str() {
            "up" if server.changed.is_empty() => Verdict::Good,
            "starting" => Verdict::Note,
            _ => Verdict::Bad,
        };
        findings.add("mcp", verdict, format!("{}: {}", server.name, state(&server)));
    }
}

/// Asks every provider for its models, a few at a time. The answers are by name.
async fn ask_all(
    config: &Config,
    registry: &Arc<Registry>,
) -> BTreeMap<String, Result<Vec<String>, ProbeFault>> {
    let (mut asking, mut answers) = (JoinSet::new(), BTreeMap::new());
    let mut keep = |asked: Option<Result<(String, Option<_>), JoinError>>| {
        // A probe that panicked has said so itself.
        if let Some(Ok((name, Some(listed)))) = asked {
            answers.insert(name, listed);
        }
    };
    for provider in &config.providers {
        if asking.len() >= PROBES {
            keep(asking.join_next().await);
        }
        let (name, registry) = (provider.name.clone(), Arc::clone(registry));
        asking.spawn(async move {
            let listed = registry.list_models(&name).await;
            (name, listed)
        });
    }
    while !asking.is_empty() {
        keep(asking.join_next().await);
    }
    answers
}

fn print(args: &DoctorArgs, findings: &Findings, context: &Context) -> Outcome {
    let bad = findings.findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if args.print.json {
        print_json(&serde_json::to_vec_pretty(findings)?)?;
    } else {
        let mut out = io::stdout().lock();
        for finding in &findings.findings {
            let (mark, style) = match finding.verdict {
                Verdict::Good => ("✓", Style::Own),
                Verdict::Note => ("·", Style::Dim),
                Verdict::Bad => ("✗", Style::Bad),
            };
            let text = clean(&finding.text).replace('\n', "\n               ");
            writeln!(out, "{} {:<12} {text}", context.terminal.paint(style, mark), finding.about)?;
        }
    }
    match bad {
        0 => Ok(()),
        1 if !args.print.json => Err(Failure::Failed("one thing is wrong".into())),
        bad if !args.print.json => Err(Failure::Failed(format!("{bad} things are wrong"))),
        _ => Err(Failure::Silent),
    }
}
