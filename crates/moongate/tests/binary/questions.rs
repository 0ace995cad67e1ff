//! Questions at the command line and in the chat, against a server whose agent asks.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::Arc,
};

use moongate_core::{
    ASK_USER, Agent, Catalog, Gateway, Ids, Limits, MemoryStore, Parts, PromptMessage, Spending,
    ToolPolicies, Toolbox,
};
use moongate_protocol::Part;
use moongate_testkit::{
    AGENT, MODEL, Script, ScriptedModel, ScriptedModels,
    upstream::{Answer, Said, Upstream},
};
use serde_json::{Value, json};

use crate::{approvals::Office, home::Home};

/// A gateway whose agent asks this whenever it is spoken to, and repeats what it is answered.
fn curious(arguments: Value) -> Gateway {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), move |request, _| {
        match request.messages.last().map(|message| &***message) {
            Some(PromptMessage::ToolResult { content, .. }) => {
                Script::says(&format!("You said {}.", Part::join_text(content).replace('\n', ",")))
            }
            _ => Script::calls(&[(ASK_USER, arguments.clone())]),
        }
    });
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = vec![ASK_USER.parse().unwrap()];
    let catalog = Catalog {
        agents: [(agent.name.clone(), Arc::new(agent))].into(),
        default_agent: AGENT.parse().unwrap(),
        models: Arc::new(ScriptedModels::new([model])),
        tools: Toolbox::default(),
        tool_policies: ToolPolicies::default(),
        policy_rules: Default::default(),
        spending: Spending::default(),
    };
    let store = Arc::new(MemoryStore::new());
    Gateway::new(Parts { store, catalog, ids: Ids::default(), limits: Limits::default() })
}

fn order() -> Value {
    let properties = json!({
        "colour": {"enum": ["red", "blue"], "title": "Colour"},
        "count": {"type": "integer"},
        "gift": {"type": "boolean", "default": false},
    });
    json!({"question": "What shall I order?", "form": {"properties": properties, "required": ["colour", "count"]}})
}

#[test]
fn a_question_is_listed_and_answered_from_the_command_line() {
    let office = Office::with(|_| curious(order()));
    let chat =
        office.home.command(&office.arguments(&["chat", "go"])).stdout(Stdio::piped()).spawn().unwrap();
    let id = office.waiting_in("questions");
    let listed = office.run(&["questions", "list"]);
    assert!(
        listed.stdout.contains("What shall I order?") && listed.stdout.contains("colour* (red|blue)"),
        "{listed:?}"
    );
    for (wrong, why) in [
        (&["blue"][..], "is no field"),
        (&["size=1"], "there is no field"),
        (&["colour=green"], "one of red, blue"),
        (&["colour=blue", "count=many"], "whole number"),
    ] {
        let refused = office.run(&[&["questions", "answer", &id], wrong].concat());
        assert!(refused.code == 2 && refused.stderr.contains(why), "{refused:?}");
    }
    let refused = office.run(&["questions", "answer", &id, "colour=blue"]);
    assert!(refused.code == 1 && refused.stderr.contains("count is missing"), "{refused:?}");
    let answered = office.run(&["questions", "answer", &id, "colour=2", "count=3"]);
    assert_eq!((answered.code, answered.stdout.trim()), (0, "answered"), "{answered:?}");
    let ended = chat.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("You said colour: blue,count: 3,."), "{ended:?}");
    let late = office.run(&["questions", "answer", &id, "colour=red", "count=1"]);
    assert!(late.code == 1 && late.stderr.contains("answered before"), "{late:?}");
    let none = office.run(&["questions", "list"]);
    assert!(none.code == 0 && none.stdout.contains("nothing waits"), "{none:?}");
}

#[test]
fn a_person_in_the_chat_is_asked_field_by_field() {
    for (arguments, ask, typed, shown) in [
        (order(), "its number, then Enter", "9\n2\nx\n3\n\n", "You said colour: blue,count: 3,gift: false,."),
        (json!({"question": "Which?"}), "your answer, then Enter", "this one\n", "You said this one."),
    ] {
        let office = Office::with(|_| curious(arguments));
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
        while !seen.contains(ask) {
            let read = stdout.read(&mut piece).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let mut stdin = chat.stdin.take().unwrap();
        stdin.write_all(typed.as_bytes()).unwrap();
        stdout.read_to_string(&mut seen).unwrap();
        assert!(seen.contains(shown), "{seen}");
        chat.wait().unwrap();
    }
}

#[test]
fn a_question_waits_in_the_store_through_kill_9_and_is_answered_after_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = runtime.block_on(Upstream::start());
    upstream.push([Answer::new([Said::call(ASK_USER, order())]), Answer::text("Two blue ones.")]);
    let home = Home::new();
    let config = home.write(
        "moongate.toml",
        &format!(
            "[providers.mock]\nkind = \"openai-chat\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
             [agents.default]\nmodel = \"mock/m\"\ntools = [\"ask_user\"]\n",
            upstream.url()
        ),
    );
    let config = ["--config", config.to_str().unwrap()];
    let server = home.serve(&config);
    let chat = home.command(&["chat", "--json", "go"]).stdout(Stdio::piped()).spawn().unwrap();
    let open = || -> Value { serde_json::from_str(&home.done(&["questions", "list", "--json"])).unwrap() };
    let asked = loop {
        let listed = open();
        if listed["items"][0].is_object() {
            break listed;
        }
    };
    server.kill();
    let server = home.serve(&config);
    assert_eq!(open(), asked, "the same question, from the disk");
    let id = asked["items"][0]["id"].as_str().unwrap();
    home.done(&["questions", "answer", id, "colour=blue", "count=2"]);
    let ended = chat.wait_with_output().unwrap();
    let log = String::from_utf8(ended.stdout).unwrap();
    assert!(log.contains("Two blue ones.") && !log.contains("turn.resumed"), "{log}");
    let requests = runtime.block_on(async { upstream.requests() });
    let told = requests[1].body.to_string();
    assert!(requests.len() == 2 && told.contains("colour: blue"), "{told}");
    drop(server);
}
