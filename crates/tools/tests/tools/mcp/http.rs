//! A server elsewhere, spoken to with streamable HTTP.

use std::process::Stdio;

use http::{HeaderName, HeaderValue, header};
use moongate_core::ServerState;
use moongate_protocol::ToolOutcome;
use moongate_tools::mcp::{Address, Mcp, Pins, ServerLink};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{SERVER, Scripted, settings};
use crate::told;

/// The scripted server, and the process it runs in.
async fn elsewhere(how: &[&str], password: &str) -> (Scripted, Child) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(SERVER).arg(folder.path()).arg("http").args(how).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
    let url = format!("http://127.0.0.1:{}/mcp", port.trim());
    let headers: Vec<(HeaderName, HeaderValue)> =
        vec![(header::AUTHORIZATION, HeaderValue::from_str(password).unwrap())];
    let link = ServerLink::Http(Address::new(&url, headers).unwrap());
    let mcp = Mcp::start(vec![settings(link)], &Pins::new(folder.path()));
    (Scripted { mcp, folder }, child)
}

#[tokio::test]
async fn a_server_elsewhere_is_called_with_the_operator_s_headers() {
    for how in [&[][..], &["modern"]] {
        let (server, _child) = elsewhere(how, "Bearer sesame").await;
        server.until(|server| server.state == ServerState::Up).await;
        let echo = server.call("it__echo", json!({"text": "hello"})).await;
        assert_eq!((echo.outcome, told(&echo)), (ToolOutcome::Ok, "hello".into()), "{how:?}");
    }
    let (server, _child) = elsewhere(&[], "Bearer wrong").await;
    let down = server.until(|server| matches!(server.state, ServerState::Down(_))).await;
    let ServerState::Down(why) = down.state else { unreachable!() };
    assert!(why.contains("401") && !why.contains("wrong"), "{why}");
}

#[tokio::test]
async fn a_stream_that_is_cut_and_a_server_that_breaks_down_leave_the_outcome_unknown() {
    for how in [&[][..], &["modern"]] {
        let (server, mut child) = elsewhere(how, "Bearer sesame").await;
        server.until(|server| server.state == ServerState::Up).await;
        let cut = server.call("it__crash", json!({})).await;
        assert_eq!(cut.outcome, ToolOutcome::Unknown, "{how:?} {}", told(&cut));
        let broken = server.call("it__refused", json!({})).await;
        assert_eq!(broken.outcome, ToolOutcome::Unknown, "{how:?} {}", told(&broken));
        child.kill().await.unwrap();
        let gone = server.call("it__echo", json!({"text": "x"})).await;
        assert_eq!(gone.outcome, ToolOutcome::Error, "{how:?} {}", told(&gone));
    }
}

#[tokio::test]
async fn an_address_has_a_scheme_and_no_password() {
    for wrong in ["mcp.example.com", "ftp://mcp.example.com", "https://me:secret@mcp.example.com/mcp", ""] {
        assert!(Address::new(wrong, Vec::new()).is_err(), "{wrong}");
    }
}
