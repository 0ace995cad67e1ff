//! Tools that follow a script and write down that they ran, where a crash does not reach.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use moongate_core::{Grant, Tool, ToolResult};
use moongate_protocol::{Effect, Requirement, ToolName, ToolOutcome, ToolSpec};
use serde_json::Value;

use crate::Gate;

/// What a tool does in one call.
#[derive(Clone, Debug)]
enum Behaviour {
    Answer(ToolResult),
    /// Waits at the gate before it answers; stops when it is told to.
    Wait(Gate, ToolResult),
    /// Waits at the gate whatever it is told.
    Ignore(Gate),
    Panic,
}

/// A tool that answers with its arguments, unless it is told otherwise.
pub struct ScriptedTool {
    spec: ToolSpec,
    behaviour: Behaviour,
    output: Vec<String>,
    requirement: Requirement,
    ledger: Option<CallLedger>,
}

impl ScriptedTool {
    /// A tool of this name and effect.
    ///
    /// # Panics
    /// When the name is none.
    pub fn new(name: &str, effect: Effect) -> Self {
        let name: ToolName = name.parse().unwrap_or_else(|error| panic!("{error}"));
        let parameters = serde_json::json!({"type": "object"});
        let spec = ToolSpec { name, description: "scripted".into(), parameters, effect };
        let behaviour = Behaviour::Answer(ToolResult::ok("done"));
        Self { spec, behaviour, output: Vec::new(), requirement: Requirement::Never, ledger: None }
    }

    /// The same with another answer.
    #[must_use]
    pub fn answers(mut self, result: ToolResult) -> Self {
        self.behaviour = Behaviour::Answer(result);
        self
    }

    /// The same, but it answers only when the gate is open, or that it was cancelled when it is told to stop.
    #[must_use]
    pub fn waits_at(mut self, gate: &Gate) -> Self {
        self.behaviour = Behaviour::Wait(gate.clone(), ToolResult::ok("done"));
        self
    }

    /// The same, but it does not even stop when it is told to.
    #[must_use]
    pub fn ignores_all_but(mut self, gate: &Gate) -> Self {
        self.behaviour = Behaviour::Ignore(gate.clone());
        self
    }

    /// The same, but it panics.
    #[must_use]
    pub fn panics(mut self) -> Self {
        self.behaviour = Behaviour::Panic;
        self
    }

    /// The same with live output.
    #[must_use]
    pub fn shows(mut self, output: &[&str]) -> Self {
        self.output = output.iter().map(|&text| text.to_owned()).collect();
        self
    }

    /// The same, with a schema of its arguments.
    #[must_use]
    pub fn takes(mut self, parameters: Value) -> Self {
        self.spec.parameters = parameters;
        self
    }

    /// The same, asking a person by itself.
    #[must_use]
    pub fn requires(mut self, requirement: Requirement) -> Self {
        self.requirement = requirement;
        self
    }

    /// The same, and every run is written into `ledger` before anything else.
    #[must_use]
    pub fn written_in(mut self, ledger: &CallLedger) -> Self {
        self.ledger = Some(ledger.clone());
        self
    }

    /// As the engine takes it.
    pub fn boxed(self) -> Arc<dyn Tool> {
        Arc::new(self)
    }
}

#[async_trait]
impl Tool for ScriptedTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn requirement(&self) -> Requirement {
        self.requirement
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        if let Some(ledger) = &self.ledger {
            ledger.write(grant.call.as_str(), &grant.arguments);
        }
        for text in &self.output {
            // Live output may be dropped.
            let _full = grant.output.try_send(text.clone());
        }
        match &self.behaviour {
            Behaviour::Answer(result) => result.clone(),
            Behaviour::Wait(gate, result) => tokio::select! {
                () = gate.pass() => result.clone(),
                () = grant.cancel.cancelled() => ToolResult::ended(ToolOutcome::Cancelled, "stopped"),
            },
            Behaviour::Ignore(gate) => {
                gate.pass().await;
                ToolResult::ok("done")
            }
            Behaviour::Panic => panic!("the script says so"),
        }
    }
}

/// A file outside the gateway that tools write a line into for every run: the world a side effect changes.
#[derive(Clone, Debug)]
pub struct CallLedger {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl CallLedger {
    /// A ledger in this file, which may hold runs already.
    ///
    /// # Panics
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) }
    }

    fn write(&self, call: &str, arguments: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writeln!(file, "{call} {arguments}").and_then(|()| file.sync_data());
        written.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }

    /// How often each call ran, by id.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn runs(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(&self.path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let mut runs = BTreeMap::new();
        for call in text.lines().filter_map(|line| line.split(' ').next()) {
            *runs.entry(call.to_owned()).or_default() += 1;
        }
        runs
    }
}
