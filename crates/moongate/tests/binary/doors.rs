//! A door's own listener, as an operating system sees it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

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
