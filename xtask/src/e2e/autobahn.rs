//! The WebSocket protocol, frame by frame, as the Autobahn suite asks it: of each door's own route, and of an echo
//! set up as the native one.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use super::{
    PLACE,
    install::Python27,
    server::Server,
    suites::{built, moongate},
};
use crate::shell::{self, Failed, report};

/// What is asked.
struct Agent {
    name: &'static str,
    /// Its route; none for the echo, which listens by itself.
    route: Option<&'static str>,
    /// Cases that make no sense there.
    without: &'static [&'static str],
    /// Cases that must have run: the suite ends well, too, when it could not connect.
    cases: usize,
}

/// Cases with messages of 4 MiB, where a door takes 1 MiB, and with more messages on a socket than a door takes of
/// what it does not understand.
const MUCH: [&str; 4] = ["9.3.*", "9.4.*", "9.7.*", "9.8.*"];

/// The same, and those with bytes, where a door does not answer bytes.
const MUCH_OR_BYTES: [&str; 7] = ["1.2.*", "9.2.*", "9.3.*", "9.4.*", "9.6.*", "9.7.*", "9.8.*"];

const AGENTS: [Agent; 6] = [
    Agent { name: "echo", route: None, without: &[], cases: 293 },
    Agent { name: "native", route: Some("/api/v1/ws"), without: &[], cases: 293 },
    Agent { name: "oxios", route: Some("/oxios/api/chat/stream"), without: &MUCH, cases: 265 },
    Agent { name: "construct", route: Some("/construct/ws/chat"), without: &MUCH_OR_BYTES, cases: 248 },
    Agent { name: "orra", route: Some("/orra/ws"), without: &MUCH_OR_BYTES, cases: 248 },
    Agent { name: "responses", route: Some("/openai/v1/responses"), without: &[], cases: 293 },
];

/// What the suite is told, besides what `e2e/autobahn.json` says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Spec {
    outdir: String,
    #[serde(default)]
    servers: Vec<Target>,
    cases: Vec<String>,
    exclude_cases: Vec<String>,
    #[serde(default)]
    exclude_agent_cases: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct Target {
    agent: String,
    url: String,
}

/// The suite's own verdict on a case.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

type Verdicts = BTreeMap<String, BTreeMap<String, Verdict>>;

pub(super) fn run() -> Result<(), Failed> {
    let Some(python) = Python27::with("autobahn")? else {
        report("skipped: the Autobahn suite needs python2.7; tests/ws_conformance.rs has its key cases");
        return Ok(());
    };
    let echo = Server::start("ws_echo", |port| {
        let mut command = Command::new(built("examples/ws_echo"));
        command.arg(port.to_string());
        command
    })?;
    let (server, key_file) = moongate()?;
    let mirror = Server::start("ws_mirror", |port| {
        let mut command = Command::new(built("examples/ws_mirror"));
        command.args([port.to_string(), server.port().to_string()]).arg(key_file);
        command
    })?;
    let spec = Path::new(PLACE).join("autobahn.json");
    let cannot = |what: &str, e: &dyn std::fmt::Display| Failed::cannot(format!("cannot {what}: {e}"));
    let text = fs::read_to_string("e2e/autobahn.json").map_err(|e| cannot("read e2e/autobahn.json", &e))?;
    let told: Spec = serde_json::from_str(&text).map_err(|e| cannot("understand e2e/autobahn.json", &e))?;
    let told = told_of_all(told, echo.port(), mirror.port());
    let text = serde_json::to_string(&told).map_err(|e| cannot("write the suite's settings", &e))?;
    fs::write(&spec, text).map_err(|e| cannot("write the suite's settings", &e))?;
    let mut wstest = Command::new(python.program("wstest"));
    shell::read(wstest.args(["--mode", "fuzzingclient", "--spec"]).arg(&spec))?;
    let index = Path::new(&told.outdir).join("index.json");
    let index = fs::read_to_string(index).map_err(|e| cannot("read the suite's report", &e))?;
    judge(&index)
}

fn told_of_all(mut spec: Spec, echo: u16, mirror: u16) -> Spec {
    for Agent { name, route, without, .. } in &AGENTS {
        let url = match route {
            Some(route) => format!("ws://127.0.0.1:{mirror}{route}"),
            None => format!("ws://127.0.0.1:{echo}"),
        };
        spec.servers.push(Target { agent: (*name).into(), url });
        let without = without.iter().map(|case| (*case).to_owned()).collect();
        spec.exclude_agent_cases.insert((*name).into(), without);
    }
    spec
}

fn judge(index: &str) -> Result<(), Failed> {
    let verdicts: Verdicts = serde_json::from_str(index)
        .map_err(|e| Failed::cannot(format!("the suite's report is not as it was: {e}")))?;
    let wrong: Vec<&str> =
        AGENTS.iter().filter(|agent| !is_good(agent, &verdicts)).map(|agent| agent.name).collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failed::new(format!("Autobahn found fault with {}", wrong.join(", "))))
    }
}

/// Whether every case ran and none failed; says it.
fn is_good(agent: &Agent, verdicts: &Verdicts) -> bool {
    let none = BTreeMap::new();
    let cases = verdicts.get(agent.name).unwrap_or(&none);
    let passed = |verdict: &str| matches!(verdict, "OK" | "NON-STRICT" | "INFORMATIONAL");
    let failed = cases.iter().filter(|(_, case)| !passed(&case.behavior) || !passed(&case.behavior_close));
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    let (name, wanted) = (agent.name, agent.cases);
    report(&format!("Autobahn, {name}: {} cases, {} failed {}", cases.len(), failed.len(), failed.join(" ")));
    if cases.len() != wanted {
        report(&format!("Autobahn, {name}: {wanted} cases were to run"));
    }
    failed.is_empty() && cases.len() == wanted
}
