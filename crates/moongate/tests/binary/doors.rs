//! A door's own listener, as an operating system sees it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::home::Home;

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
