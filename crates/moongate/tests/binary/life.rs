//! Start, stop, restart.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::home::{Home, Ran};

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_makes_a_closed_folder_and_a_key_it_never_prints() {
    let home = Home::new();
    let server = home.serve(&["--log", "trace"]);
    let (data, greeting) = (home.data(), server.greeting.clone());
    assert_eq!((mode(&data), mode(&data.join("admin.key"))), (0o700, 0o600));
    let key = home.key();
    assert!(key.len() >= 43, "256 bits in base64 take 43 characters");
    for expected in [data.join("admin.key").to_str().unwrap(), "agent  default", "builtin/demo", &server.url]
    {
        assert!(greeting.contains(expected), "{expected} in {greeting}");
    }
    home.done(&["chat", "hello"]);
    server.signal("TERM");
    let ran = server.end();
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("Set OPENAI_API_KEY"));
    assert!(!ran.stdout.contains(&key) && !ran.stderr.contains(&key), "{ran:?}");
    // The next start keeps the key.
    let again = home.serve(&[]);
    assert_eq!(home.key(), key);
    drop(again);
}

#[test]
fn keys_and_folders_open_to_others_are_refused() {
    let home = Home::new();
    home.done(&["chat", "hello"]);
    let key = home.data().join("admin.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(&format!("chmod 600 {}", key.display())), "{ran:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = home.run(&["chat", "hello"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("chmod 700"), "{ran:?}");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let home = Home::new();
    let server = home.serve(&[]);
    let ran = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("in use by another Moongate process"), "{ran:?}");
    // The first one is as well as before, and still found.
    home.done(&["chat", "hello"]);
    drop(server);
}

#[test]
fn an_encrypting_server_is_reached_by_the_certificate_it_left() {
    let home = Home::new();
    let made = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    home.write("cert.pem", &pem("CERTIFICATE", made.cert.der()));
    home.write("key.pem", &pem("PRIVATE KEY", &made.signing_key.serialize_der()));
    let tls = "[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let config = home.write("m.toml", tls);
    let server = home.serve(&["--config", config.to_str().unwrap()]);
    assert!(server.url.starts_with("https://"));
    assert_eq!(home.done(&["chat", "/long 1"]), "word1.\n");
    // Named by its address it is a server like any other, and nobody vouches for it.
    let ran = home.run(&["sessions", "list", "--server", &server.url]);
    assert_eq!(ran.code, 3, "{ran:?}");
    home.write("cert.pem", "rubbish");
    drop(server);
    let ran = home.run(&["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("certificate"), "{ran:?}");
}

#[test]
fn an_address_in_use_is_named() {
    let (home, other) = (Home::new(), Home::new());
    let server = home.serve(&[]);
    let address = server.url.trim_start_matches("http://");
    let ran = other.run(&["serve", "--listen", address]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(address) && ran.stderr.contains("--listen"), "{ran:?}");
}

#[test]
fn clear_text_on_a_network_is_refused() {
    let home = Home::new();
    let ran = home.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("behind_proxy"), "{ran:?}");
    assert!(ran.stdout.is_empty(), "it listened: {ran:?}");
}

#[test]
fn a_signal_drains_and_a_second_one_ends_at_once() {
    let home = Home::new();
    let mut server = home.serve(&[]);
    let chat = home
        .command(&["chat", "--json", "/slow 200\n/long 100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut chat = Running(chat);
    chat.wait_for("turn.started");
    server.signal("TERM");
    server.wait_for_log("stopping");
    server.signal("INT");
    assert_eq!(server.end().code, 0);
}

#[test]
fn after_kill_9_the_turn_goes_on_and_the_client_comes_back_by_itself() {
    let home = Home::new();
    let server = home.serve(&[]);
    let chat = home
        .command(&["chat", "--json", "/slow 50\n/long 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut chat = Running(chat);
    chat.wait_for("turn.started");
    server.kill();
    let server = home.serve(&[]);
    let log = chat.wait_for("turn.completed");
    let resumed = log.iter().filter(|line| line.contains("\"turn.resumed\"")).count();
    assert_eq!(resumed, 1, "{log:?}");
    let answer = log.iter().find(|line| line.contains("message.completed")).unwrap();
    assert!(answer.contains("word1 ") && answer.contains("word60"), "{answer}");
    let seqs: Vec<u64> = log.iter().map(|line| seq(line)).collect();
    let expected: Vec<u64> = (seqs[0]..).take(seqs.len()).collect();
    assert_eq!(seqs, expected, "each event once, in order");
    drop(server);
}

#[test]
fn a_hang_up_applies_what_it_can_and_refuses_what_is_wrong() {
    let home = Home::new();
    let config = home.write("m.toml", "[agents.default]\nmodel = \"builtin/demo\"\n");
    let config_path = config.to_str().unwrap();
    let mut server = home.serve(&["--config", config_path]);
    home.write(
        "m.toml",
        "[agents.default]\nmodel = \"builtin/demo\"\n[agents.second]\nmodel = \"nowhere/x\"\n",
    );
    server.signal("HUP");
    server.wait_for_log("was not applied");
    assert!(!home.done(&["agents"]).contains("second"));
    home.write(
        "m.toml",
        "[server]\ndrain_secs = 1\n[agents.default]\nmodel = \"builtin/demo\"\n[agents.second]\nmodel = \"builtin/demo\"\n",
    );
    server.signal("HUP");
    assert!(server.wait_for_log("need a restart").contains("server"));
    assert!(home.done(&["agents"]).contains("second"));
    assert!(home.done(&["chat", "--agent", "second", "hi"]).contains("> hi"));
}

#[test]
fn a_chat_whose_server_was_another_chat_s_goes_on_with_its_own() {
    let home = Home::new();
    let start = |text: &str| {
        let mut command = home.command(&["chat", "--json", text]);
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let mut first = start("/slow 100\n/long 100000");
    first.wait_for("turn.started");
    let mut second = start("/slow 50\n/long 60");
    second.wait_for("turn.started");
    drop(first);
    let log = second.wait_for("turn.completed");
    assert!(log.iter().any(|line| line.contains("word60")), "{log:?}");
}

#[test]
fn word_of_a_server_that_is_gone_is_not_believed() {
    let home = Home::new();
    home.done(&["chat", "/long 1"]);
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", stranger.local_addr().unwrap());
    let word = format!("{{\"url\":\"{url}\",\"is_a_chat_s\":false}}");
    fs::write(home.data().join("server.json"), word).unwrap();
    assert_eq!(home.run(&["sessions", "list"]).code, 3);
    home.done(&["chat", "/long 1"]);
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.accept().is_err(), "the key was shown to a stranger");
}

/// A chat that runs beside the test.
struct Running(std::process::Child);

impl Running {
    /// Reads its lines up to the one that holds a text.
    fn wait_for(&mut self, text: &str) -> Vec<String> {
        use std::io::{BufRead as _, BufReader, Read as _};
        let mut out = BufReader::with_capacity(1, self.0.stdout.take().unwrap());
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if out.read_line(&mut line).unwrap() == 0 {
                let mut stderr = String::new();
                self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("the chat ended without {text}: {lines:?} {stderr}");
            }
            let found = line.contains(text);
            lines.push(line);
            if found {
                self.0.stdout = Some(out.into_inner());
                return lines;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn seq(line: &str) -> u64 {
    let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
    envelope["seq"].as_u64().unwrap()
}

#[test]
fn a_server_that_cannot_write_its_data_says_so() {
    let home = Home::new();
    let file = home.write("file", "");
    let ran =
        Ran::of(&home.command(&["chat", "hi"]).env("MOONGATE_DATA", file.join("below")).output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("cannot make the data folder"), "{ran:?}");
}
