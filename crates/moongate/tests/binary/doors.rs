//! A door's own listener, as an operating system sees it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::home::{Home, Serving};

/// Connections a client opens; the server is left fewer descriptors than that.
const CONNECTIONS: usize = 64;
/// Descriptors the server is left with for all of them.
const LEFT: usize = 8;

fn health(port: u16) -> String {
    let mut socket = TcpStream::connect(("localhost", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(socket, "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    reply
}

/// Sends a request to a door's own listener and does not wait for the reply.
fn send(port: u16, key: &str, request: &str, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(("localhost", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        socket,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    socket
}

/// Asks for a session of the orra door until it is as wanted.
fn until(port: u16, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let over = Instant::now() + Duration::from_secs(30);
    loop {
        let mut reply = String::new();
        send(port, key, "GET /api/sessions/a", &Value::Null).read_to_string(&mut reply).unwrap();
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let session = serde_json::from_str(body).unwrap_or_default();
        if wanted(&session) {
            return session;
        }
        assert!(Instant::now() < over, "{session}");
    }
}

#[test]
fn o_23_after_kill_9_the_history_is_whole_and_what_waited_runs_once() {
    let home = Home::new();
    let port = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let settings =
        format!("[doors.orra]\nlisten = \"127.0.0.1:{port}\"\nqueue = {{ depth = 8, wait_secs = 0 }}\n");
    let config = home.write("doors.toml", &settings);
    let serve = || home.serve(&["--config", config.to_str().unwrap()]);
    let server = serve();
    let key = home.key();
    let chat = |text: &str| send(port, &key, "POST /api/chat", &json!({"message": text, "namespace": "a"}));
    let long = "/slow 50\n/long 60";
    let _first = chat(long);
    let before = until(port, &key, |session| session["state"] == "running");
    let _second = chat("waits");
    until(port, &key, |session| session["last_seq"].as_u64() > before["last_seq"].as_u64());
    server.kill();
    let server = serve();
    let is_over = |session: &Value| session["messages"].as_array().is_some_and(|all| all.len() >= 4);
    let session = until(port, &key, |session| session["state"] == "idle" && is_over(session));
    let messages = session["messages"].as_array().unwrap();
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"], "each once, in order: {session}");
    assert_eq!((&messages[0]["content"], &messages[2]["content"]), (&json!(long), &json!("waits")));
    let answer = messages[1]["content"].as_str().unwrap();
    assert!(answer.contains("word1 ") && answer.contains("word60"), "{answer}");
    drop(server);
}

#[test]
fn c38_a_named_listener_outlives_a_time_without_file_descriptors() {
    let home = Home::new();
    let port = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let config = home.write("doors.toml", &format!("[doors.construct]\nlisten = \"localhost:{port}\"\n"));
    let mut server = home.serve(&["--config", config.to_str().unwrap()]);
    assert!(health(port).starts_with("HTTP/1.1 200"));
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let limit = format!("--nofile={0}:{0}", open + LEFT);
    let set = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status();
    assert!(set.unwrap().success());
    let held: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(("localhost", port)).unwrap()).collect();
    server.wait_for_log("a connection could not be accepted");
    drop(held);
    assert!(health(port).starts_with("HTTP/1.1 200"));
}

/// What a server's own network counted that has no way out: connections begun, datagrams sent, and what found no
/// way to anywhere.
fn sent(pid: u32) -> [(&'static str, u64); 3] {
    let text = fs::read_to_string(format!("/proc/{pid}/net/snmp")).unwrap();
    let count = |protocol: &str, name: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(protocol));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|found| found == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    };
    let counted = [("Tcp:", "ActiveOpens"), ("Udp:", "OutDatagrams"), ("Ip:", "OutNoRoutes")];
    counted.map(|(protocol, name)| (name, count(protocol, name)))
}

/// Starts a program in a network of its own with nothing in it; `None` where this machine does not allow that.
fn apart(home: &Home, program: &str, arguments: &[&str]) -> Option<Command> {
    let apart = ["--net", "--map-root-user"];
    let allowed = Command::new("unshare").args(apart).arg("true").status().is_ok_and(|done| done.success());
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env("MOONGATE_DATA", home.data());
    command.args(apart).arg(program).args(arguments);
    allowed.then_some(command)
}

#[test]
fn o34_a_start_without_configuration_asks_nobody_for_anything() {
    let home = Home::new();
    let config = home.write("doors.toml", "[doors.oxios]\nlisten = \"127.0.0.1:0\"\n");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let program = env!("CARGO_BIN_EXE_moongate");
    let Some(mut command) = apart(&home, program, &arguments) else {
        // Networks of one's own are not to be had here; elsewhere the gate has them.
        return;
    };
    let server = Serving::of(command.stdin(std::process::Stdio::null()));
    assert_eq!(sent(server.pid()).map(|(_, count)| count), [0, 0, 0], "{:?}", sent(server.pid()));
    server.signal("TERM");
    assert_eq!(server.end().code, 0);
    // The counters see one who asks.
    let asks = "exec 3<>/dev/tcp/192.0.2.1/80; echo '  key http://x'; sleep 5";
    let Some(mut command) = apart(&home, "/bin/bash", &["-c", asks]) else { return };
    let asking = Serving::of(&mut command);
    assert!(sent(asking.pid()).iter().any(|(_, count)| *count > 0), "{:?}", sent(asking.pid()));
}
