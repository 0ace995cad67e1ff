//! One request to a server of ours.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a 200 answer; nothing for any other answer, or none.
pub(super) fn get(at: SocketAddr, path: &str, key: Option<&str>) -> Option<String> {
    request(at, "GET", path, key)
}

/// As [`get`], for a request that changes something.
pub(super) fn post(at: SocketAddr, path: &str) -> Option<String> {
    request(at, "POST", path, None)
}

fn request(at: SocketAddr, method: &str, path: &str, key: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let key = key.map_or(String::new(), |key| format!("authorization: Bearer {key}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\n{key}connection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
}
