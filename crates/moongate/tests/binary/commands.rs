//! The other commands, against a running server and without one.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
};

use crate::home::Home;

fn only_session(home: &Home) -> String {
    let list: serde_json::Value = serde_json::from_str(&home.done(&["sessions", "list", "--json"])).unwrap();
    let [session] = list["items"].as_array().unwrap().as_slice() else { panic!("one session in {list}") };
    session["id"].as_str().unwrap().to_owned()
}

#[test]
fn sessions_are_listed_shown_found_moved_and_removed() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.done(&["chat", "where is the walrus?"]);
    let id = only_session(&home);
    assert!(home.done(&["sessions", "list"]).contains("where is the walrus?"));
    assert!(home.done(&["sessions", "search", "walrus"]).contains(&id));
    assert!(home.done(&["sessions", "search", "penguin"]).contains("no sessions"));
    let shown = home.done(&["sessions", "show", &id]);
    assert!(shown.contains("› where is the walrus?") && shown.contains("> where is the walrus?"), "{shown}");
    home.done(&["sessions", "rename", &id, "Walrus matters"]);
    assert!(home.done(&["sessions", "list"]).contains("Walrus matters"));
    let fork = home.done(&["sessions", "fork", &id, "--title", "again"]).trim().to_owned();
    let log = home.path().join("log.jsonl");
    home.done(&["sessions", "export", &id, "--output", log.to_str().unwrap()]);
    assert_eq!(home.run(&["sessions", "delete", &id]).code, 2, "nobody can be asked");
    home.done(&["sessions", "delete", "--yes", &id, &fork]);
    assert!(home.done(&["sessions", "list"]).contains("no sessions"));
    home.done(&["sessions", "import", log.to_str().unwrap()]);
    assert!(home.done(&["sessions", "show", &only_session(&home)]).contains("where is the walrus?"));
}

#[test]
fn keys_open_what_they_may_until_they_are_revoked() {
    let home = Home::new();
    let server = home.serve(&[]);
    let made = home.done(&["keys", "create", "--label", "phone", "--scope", "sessions:read"]);
    let key = home.write("phone.key", &made);
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let listed = home.done(&["keys", "list"]);
    assert!(listed.contains("phone") && !listed.contains(made.trim()));
    let with_key = ["--server", &server.url, "--key-file", key.to_str().unwrap()];
    let sessions = [&["sessions", "list"], &with_key[..]].concat();
    home.done(&sessions);
    let refused = home.run(&[&["chat", "hi"], &with_key[..]].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("forbidden"), "{refused:?}");
    let id = listed.split_whitespace().find(|word| word.starts_with("key_")).unwrap();
    home.done(&["keys", "revoke", id]);
    let refused = home.run(&sessions);
    assert!(refused.code == 1 && refused.stderr.contains("unauthorized"), "{refused:?}");
}

#[test]
fn lists_answer_for_people_and_for_programs() {
    let home = Home::new();
    let _server = home.serve(&[]);
    home.done(&["chat", "hello"]);
    for (command, expected) in
        [("agents", "builtin/demo"), ("models", "builtin/demo"), ("usage", "CALLS"), ("approvals", "nothing")]
    {
        let arguments = if command == "approvals" { vec![command, "list"] } else { vec![command] };
        assert!(home.done(&arguments).contains(expected), "{command}");
        let json = home.done(&[arguments, vec!["--json"]].concat());
        let body: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(body["items"].is_array(), "{command}: {json}");
    }
}

#[test]
fn configuration_is_checked_shown_and_described() {
    let home = Home::new();
    let config = home.write("m.toml", "[server]\nlistne = 1\n[agents.a]\nmodel = \"x\"\n");
    let config = config.to_str().unwrap();
    let ran = home.run(&["--config", config, "config", "check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(&format!("{config}:2:1: unknown field `listne`")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{config}:4:9: ")), "{ran:?}");
    let missing = home.run(&["--config", "nowhere.toml", "config", "check"]);
    assert_eq!(missing.code, 2);
    let shown: serde_json::Value = serde_json::from_str(&home.done(&["config", "show", "--json"])).unwrap();
    let data = shown.as_array().unwrap().iter().find(|setting| setting["key"] == "data").unwrap();
    assert_eq!(data["from"], "MOONGATE_DATA");
    let schema: serde_json::Value = serde_json::from_str(&home.done(&["config", "schema"])).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["server"].is_object());
    insta::assert_json_snapshot!("schema", schema);
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let home = Home::new();
    assert_eq!(home.run(&["doctor"]).code, 0);
    home.done(&["chat", "hello"]);
    assert!(home.done(&["doctor", "--check"]).contains("1 sessions"));
    assert!(home.done(&["doctor", "--rebuild"]).contains("rebuilt"));
    let server = home.serve(&[]);
    assert!(home.done(&["doctor"]).contains(&server.url));
    assert!(home.done(&["doctor", "--check"]).contains("whole: 1 sessions"));
    assert_eq!(home.run(&["doctor", "--rebuild"]).code, 1, "nothing is rebuilt under a server's feet");
    drop(server);
    let config = home.write(
        "m.toml",
        "[providers.x]\nkind = \"openai-chat\"\nbase_url = \"http://127.0.0.1:1\"\nmodels = [\"m\"]\n",
    );
    let ran = home.run(&["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("provider_unreachable"), "{ran:?}");
    fs::write(home.data().join("moongate.db"), "rubbish rubbish rubbish").unwrap();
    let ran = home.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 1);
    let findings: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(
        findings["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["verdict"] == "bad" && f["about"] == "store")
    );
}

#[test]
fn commands_without_a_sandbox_are_said_loudly() {
    let home = Home::new();
    let doctor = home.done(&["doctor"]);
    assert!(doctor.contains("sandbox      bubblewrap keeps commands in"), "{doctor}");
    let agent = "[agents.default]\nmodel = \"builtin/demo\"\ntools = [\"shell\"]\n";
    let open = home.write("open.toml", &format!("{agent}[tools.shell]\nsandbox = \"none\"\n"));
    let open = open.to_str().unwrap();
    let ran = home.run(&["doctor", "--config", open]);
    assert!(ran.code == 1 && ran.stdout.contains("NONE: commands of agents may do whatever"), "{ran:?}");
    let mut server = home.serve(&["--config", open]);
    server.wait_for_log("commands of agents may do whatever this user may");
    let off = home.write("off.toml", &format!("{agent}[tools.shell]\nenabled = false\n"));
    let ran = home.run(&["config", "check", "--config", off.to_str().unwrap()]);
    assert!(
        ran.code == 2 && ran.stderr.contains("shell is off here: [tools.shell] enabled is false"),
        "{ran:?}"
    );
}

/// Three that answer only when all three have been asked.
#[test]
fn the_doctor_asks_all_providers_at_once() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config: String = (0..3)
        .map(|n| format!("[providers.p{n}]\nkind = \"openai-chat\"\nbase_url = \"http://{address}/v1\"\n"))
        .collect();
    let config = home.write("m.toml", &format!("{config}[agents.default]\nmodel = \"p0/m\"\n"));
    let answering = std::thread::spawn(move || {
        let mut asked: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        for socket in &mut asked {
            assert!(socket.read(&mut [0; 4096]).unwrap() > 0, "it is asked before it answers");
            let body = r#"{"data":[{"id":"m"}]}"#;
            let length = body.len();
            write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
        for mut socket in asked {
            // Read to the client's end: what is unread would break the answer off.
            drop(socket.read_to_end(&mut Vec::new()));
        }
    });
    let out = home.done(&["doctor", "--config", config.to_str().unwrap()]);
    answering.join().unwrap();
    assert!((0..3).all(|n| out.contains(&format!("p{n}: 1 models"))), "{out}");
}

#[test]
fn a_backup_of_a_running_server_is_restored() {
    let home = Home::new();
    let server = home.serve(&[]);
    home.done(&["chat", "remember the walrus"]);
    let copy = home.path().join("copy");
    home.done(&["backup", copy.to_str().unwrap()]);
    drop(server);
    let other = Home::new();
    assert!(other.done(&["restore", copy.to_str().unwrap()]).contains("1 sessions"));
    let _server = other.serve(&[]);
    assert!(other.done(&["sessions", "list"]).contains("remember the walrus"));
    let again = home.run(&["restore", copy.to_str().unwrap()]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("not empty"), "{again:?}");
}

#[test]
fn papers_are_printed_without_a_server() {
    let home = Home::new();
    assert!(home.done(&["completions", "bash"]).contains("_moongate"));
    assert!(home.done(&["man"]).contains(".TH"));
    let document: serde_json::Value = serde_json::from_str(&home.done(&["openapi"])).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(!home.data().exists(), "nothing was made on disk");
}
