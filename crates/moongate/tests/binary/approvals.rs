//! Approvals at the command line and in the chat, against a server whose agent has a tool.

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use moongate_core::{
    Agent, Catalog, Gateway, Ids, Limits, MemoryStore, Parts, Spending, ToolPolicies, Toolbox,
};
use moongate_protocol::{Effect, PolicyPreset};
use moongate_server::{AppConfig, Server, ServerConfig};
use moongate_testkit::{AGENT, CallLedger, MODEL, Script, ScriptedModel, ScriptedModels, ScriptedTool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::home::Home;

/// A server in this process whose agent waits for a person whenever it is spoken to.
pub(crate) struct Office {
    pub(crate) home: Home,
    url: String,
    key: PathBuf,
    ledger: CallLedger,
    _runtime: tokio::runtime::Runtime,
}

impl Office {
    /// Its agent wishes to send something.
    fn open() -> Self {
        Self::with(gateway)
    }

    pub(crate) fn with(gateway: impl FnOnce(&CallLedger) -> Gateway) -> Self {
        let home = Home::new();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ledger = CallLedger::open(&home.path().join("runs"));
        let gateway = {
            let _inside = runtime.enter();
            gateway(&ledger)
        };
        let (secret, app) = AppConfig::generate(gateway.ids());
        let config =
            ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), tls: None, behind_proxy: false, app };
        let server = runtime.block_on(Server::bind(config, gateway)).unwrap();
        let url = format!("http://{}", server.local_addr());
        runtime.spawn(server.run(CancellationToken::new(), std::time::Duration::ZERO));
        let key = home.write("key", secret.expose_secret());
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { home, url, key, ledger, _runtime: runtime }
    }

    pub(crate) fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let there = ["--server", &self.url, "--key-file", self.key.to_str().unwrap()];
        arguments.iter().copied().chain(there).collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> crate::home::Ran {
        self.home.run(&self.arguments(arguments))
    }

    /// The id of what waits, once something does.
    fn waiting(&self) -> String {
        self.waiting_in("approvals")
    }

    /// The id of the approval or question that waits, once one does.
    pub(crate) fn waiting_in(&self, list: &str) -> String {
        loop {
            let listed: Value = serde_json::from_str(&self.run(&[list, "list", "--json"]).stdout).unwrap();
            if let Some(id) = listed["items"][0]["id"].as_str() {
                return id.to_owned();
            }
        }
    }

    fn runs(&self) -> usize {
        self.ledger.runs().values().sum()
    }
}

fn gateway(ledger: &CallLedger) -> Gateway {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        match request.messages.last().map(|message| &***message) {
            Some(moongate_core::PromptMessage::ToolResult { is_error, .. }) => {
                Script::says(if *is_error { "Not sent." } else { "Sent." })
            }
            _ => Script::calls(&[("send", json!({"to": "eve"}))]),
        }
    });
    let tool = ScriptedTool::new("send", Effect::Effect).written_in(ledger);
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = vec!["send".parse().unwrap()];
    agent.policy = PolicyPreset::Ask;
    let catalog = Catalog {
        agents: [(agent.name.clone(), Arc::new(agent))].into(),
        default_agent: AGENT.parse().unwrap(),
        models: Arc::new(ScriptedModels::new([model])),
        tools: Toolbox::new([tool.boxed()]),
        tool_policies: ToolPolicies::default(),
        policy_rules: Default::default(),
        spending: Spending::default(),
    };
    let store = Arc::new(MemoryStore::new());
    Gateway::new(Parts { store, catalog, ids: Ids::default(), limits: Limits::default() })
}

#[test]
fn what_waits_is_listed_and_decided_from_the_command_line() {
    let office = Office::open();
    for (verb, said, answer) in [("approve", "approved", "Sent."), ("deny", "denied", "Not sent.")] {
        let chat =
            office.home.command(&office.arguments(&["chat", "go"])).stdout(Stdio::piped()).spawn().unwrap();
        let id = office.waiting();
        let listed = office.run(&["approvals", "list"]);
        assert!(listed.stdout.contains(r#"send {"to":"eve"}"#), "{listed:?}");
        let decided = office.run(&["approvals", verb, &id]);
        assert_eq!((decided.code, decided.stdout.trim()), (0, said), "{decided:?}");
        let ended = chat.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&ended.stdout).contains(answer), "{ended:?}");
        assert_eq!(office.runs(), 1);
        let again = office.run(&["approvals", verb, &id]);
        assert!(again.code == 0 && again.stdout.contains("decided before"), "{again:?}");
        let other = if verb == "approve" { "deny" } else { "approve" };
        let late = office.run(&["approvals", other, &id]);
        assert!(late.code == 1 && late.stderr.contains(&format!("decided before: {said}")), "{late:?}");
    }
}

#[test]
fn a_person_in_the_chat_is_asked_and_sees_what_others_decided() {
    let office = Office::open();
    for (typed, elsewhere, shown) in [
        (Some("what?\ny\n"), None, "Sent."),
        (Some("n\n"), None, "Not sent."),
        (None, Some("approve"), "said yes)"),
    ] {
        // A terminal of its own.
        let program = office.home.command(&office.arguments(&["chat", "go"]));
        let words = std::iter::once(program.get_program()).chain(program.get_args());
        let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).env_clear().env("TERM", "xterm");
        command
            .env("HOME", office.home.path())
            .env("MOONGATE_DATA", office.home.data())
            .env("SHELL", "/bin/sh");
        let mut chat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut seen = String::new();
        let mut stdout = chat.stdout.take().unwrap();
        let mut piece = [0; 4096];
        while !seen.contains("run it? y or n") {
            let read = stdout.read(&mut piece).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let mut stdin = chat.stdin.take().unwrap();
        if let Some(typed) = typed {
            stdin.write_all(typed.as_bytes()).unwrap();
        }
        if let Some(verb) = elsewhere {
            office.run(&["approvals", verb, &office.waiting()]);
        }
        stdout.read_to_string(&mut seen).unwrap();
        assert!(seen.contains(shown), "{seen}");
        chat.wait().unwrap();
    }
    assert_eq!(office.runs(), 2);
}
