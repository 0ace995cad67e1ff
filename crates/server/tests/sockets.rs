//! The listener: timeouts, bounds, refusals of the HTTP library, encryption, and going away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::live::{Live, exchange, read_until};
use moongate_server::{AppConfig, BindError, Server, ServerConfig, Tls};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::Instant,
};

fn body_of(reply: &str) -> Value {
    let (_, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {reply:?}"))
}

#[tokio::test]
async fn a_clear_address_of_the_network_needs_encryption_or_a_proxy() {
    let gate = common::Gate::new();
    let config = |behind_proxy| ServerConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        tls: None,
        behind_proxy,
        app: AppConfig::generate(gate.gateway.ids()).1,
    };
    let refused = Server::bind(config(false), gate.gateway.clone()).await;
    assert!(matches!(refused, Err(BindError::ClearText(_))));
    assert!(Server::bind(config(true), gate.gateway.clone()).await.is_ok());
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let live = Live::with(None, |app| app.limits.idle_timeout = Duration::from_millis(500)).await;
    let mut socket = live.connect().await;
    // Longer in all than a connection may be idle: each request begins the idle time anew.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let request = live.head("GET /api/v1/whoami") + "\r\n";
        let reply = exchange(&mut socket, request.as_bytes(), "\"scopes\":[\"admin\"]").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
}

#[tokio::test]
async fn a_head_the_library_refuses_is_refused_in_our_shape() {
    let live = Live::new().await;
    let head = |more: &str| format!("{}{more}\r\n", live.head("GET /api/v1/whoami"));
    let many: String = (0..120).map(|n| format!("x-{n}: y\r\n")).collect();
    let table = [
        (head(&many), "431", "headers_too_large"),
        (head(&format!("x-big: {}\r\n", "y".repeat(60_000))), "431", "headers_too_large"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70_000)),
            "4",
            "headers_too_large",
        ),
        ("rubbish\r\n\r\n".into(), "400", "invalid_request"),
        (head("bad name: x\r\n"), "400", "invalid_request"),
        (head("content-length: 1\r\ncontent-length: 2\r\n"), "400", "invalid_request"),
        (head("content-length: -1\r\n"), "400", "invalid_request"),
        (head("transfer-encoding: gzip\r\n"), "400", "invalid_request"),
        (head("x: a\r\n folded\r\n"), "400", "invalid_request"),
    ];
    for (request, status, code) in table {
        let mut socket = live.connect().await;
        let reply = exchange(&mut socket, request.as_bytes(), "").await;
        let shown: String = request.chars().take(60).collect();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {reply}");
        assert_eq!(body_of(&reply)["error"]["code"], code, "{shown}: {reply}");
    }
}

#[tokio::test]
async fn slow_clients_are_let_go_and_others_do_not_notice() {
    let live = Live::with(None, |app| {
        app.limits.head_timeout = Duration::from_millis(200);
        app.limits.idle_timeout = Duration::from_millis(600);
        app.limits.body_stall = Duration::from_millis(200);
    })
    .await;
    let began = Instant::now();
    let mut silent = live.connect().await;
    let mut slow_head = live.connect().await;
    slow_head.write_all(b"GET /healthz HTT").await.unwrap();
    let mut slow_body = live.connect().await;
    let head =
        live.head("POST /api/v1/sessions") + "content-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    slow_body.write_all(head.as_bytes()).await.unwrap();
    let reply = read_until(&mut slow_body, "}}").await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    assert_eq!(read_until(&mut slow_head, "").await, "");
    let head_took = began.elapsed();
    assert!(
        head_took >= Duration::from_millis(200) && head_took < Duration::from_millis(600),
        "{head_took:?}"
    );
    assert_eq!(read_until(&mut silent, "").await, "");
    assert!(began.elapsed() >= Duration::from_millis(600));
    let mut good = live.connect().await;
    let reply = exchange(&mut good, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", "\"ok\"").await;
    assert!(reply.starts_with("HTTP/1.1 200"));
    // After an answer the idle time begins anew.
    let answered = Instant::now();
    assert_eq!(read_until(&mut good, "").await, "");
    assert!(answered.elapsed() >= Duration::from_millis(590), "{:?}", answered.elapsed());
}

#[tokio::test]
async fn a_stream_outlives_the_idle_time() {
    let live = Live::with(None, |app| {
        app.limits.idle_timeout = Duration::from_millis(100);
        app.limits.head_timeout = Duration::from_millis(100);
        app.limits.heartbeat = Duration::from_millis(300);
    })
    .await;
    let session = live.gate.session().await;
    let mut socket = live.connect().await;
    let head = live.head(&format!("GET {session}/events")) + "accept: text/event-stream\r\n\r\n";
    let reply = exchange(&mut socket, head.as_bytes(), ":\n\n").await;
    assert!(reply.contains("session.created"), "{reply}");
    for _ in 0..2 {
        assert_eq!(read_until(&mut socket, ":\n\n").await, "3\r\n:\n\n\r\n");
    }
}

/// A session whose log is larger than what sockets hold.
async fn large_session(live: &Live) -> String {
    let session = live.gate.session().await;
    let text = "x".repeat(250_000);
    for _ in 0..24 {
        live.gate.turn(&session, &text).await;
    }
    session
}

async fn small_socket(live: &Live) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(live.address).await.unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let live = Live::with(None, |app| app.limits.write_stall = Duration::from_millis(300)).await;
    let session = large_session(&live).await;
    let mut socket = small_socket(&live).await;
    let head = live.head(&format!("GET {session}/events")) + "accept: text/event-stream\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let stalled = async {
        loop {
            let text = live.gate.get("/metrics").await.1;
            if text.as_str().unwrap().contains("moongate_stalled_clients_total 1\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(common::SOON, stalled).await.expect("the client is let go");
    assert!(live.gate.get("/metrics").await.1.as_str().unwrap().contains("moongate_sse_streams 0\n"));
}

#[tokio::test]
async fn connections_over_the_bound_are_turned_away_at_once() {
    let live = Live::with(None, |app| app.limits.connections = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut socket = live.connect().await;
        exchange(&mut socket, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", "\"ok\"").await;
        held.push(socket);
    }
    let mut socket = live.connect().await;
    let reply = read_until(&mut socket, "").await;
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("retry-after: 1"), "{reply}");
    assert_eq!(body_of(&reply)["error"]["code"], "unavailable");
    drop(held);
    let served = async {
        loop {
            let mut socket = live.connect().await;
            let reply = exchange(&mut socket, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", "}").await;
            if reply.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(common::SOON, served).await.expect("there is room again");
}

#[tokio::test]
async fn a_fault_inside_a_route_is_a_refusal_and_the_server_lives() {
    struct Broken;
    impl moongate_server::Configuration for Broken {
        fn settings(&self) -> Vec<moongate_server::Setting> {
            panic!("the configuration cannot be shown");
        }

        fn change(
            &self,
            _: &[moongate_server::SettingChange],
            _: &moongate_server::App,
        ) -> Result<Vec<moongate_server::Effect>, moongate_server::ChangeFault> {
            panic!("the configuration cannot be changed");
        }
    }
    let live = Live::with(None, |app| app.config = Arc::new(Broken)).await;
    let mut socket = live.connect().await;
    for _ in 0..2 {
        let request = live.head("GET /api/v1/config") + "\r\n";
        let reply = exchange(&mut socket, request.as_bytes(), "}}").await;
        assert!(reply.starts_with("HTTP/1.1 500"), "{reply}");
        assert_eq!(body_of(&reply)["error"]["code"], "internal");
        assert!(!reply.contains("cannot be shown"));
    }
}

#[tokio::test]
async fn a_server_goes_away_in_order() {
    let mut live = Live::new().await;
    let session = live.gate.session().await;
    let mut stream = live.connect().await;
    let head = live.head(&format!("GET {session}/events")) + "accept: text/event-stream\r\n\r\n";
    exchange(&mut stream, head.as_bytes(), "session.created").await;
    let mut idle = live.connect().await;
    exchange(&mut idle, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", "\"ok\"").await;
    let mut websocket = live.socket(&live.gate.admin).await;
    websocket.say(json!({ "type": "subscribe", "session": session.rsplit('/').next().unwrap() })).await;
    websocket.until("session.created").await;
    live.gate.post(&format!("{session}/inputs"), json!({ "text": "hold the door" })).await;
    read_until(&mut stream, "turn.started").await;
    live.shutdown.cancel();
    // The running turn ends before the streams do.
    read_until(&mut stream, "draining").await;
    live.gate.permits.add_permits(1);
    let rest = read_until(&mut stream, "").await;
    assert!(rest.contains("turn.completed") && rest.ends_with("0\r\n\r\n"), "{rest}");
    websocket.until("notice").await;
    websocket.until("turn.completed").await;
    assert_eq!(websocket.close_code().await, Some(1012));
    assert_eq!(read_until(&mut idle, "").await, "");
    tokio::time::timeout(common::SOON, &mut live.running).await.expect("the server returns").unwrap();
    assert!(TcpStream::connect(live.address).await.is_err());
}

#[tokio::test]
async fn encrypted_connections_speak_both_versions_and_say_so_to_browsers() {
    use tokio_rustls::{TlsConnector, rustls};
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let chain = pem("CERTIFICATE", made.cert.der());
    let key = pem("PRIVATE KEY", made.signing_key.serialized_der());
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let live = Live::with(Some(tls), |_| {}).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let connect = async |protocol: &[u8]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, live.connect().await).await.unwrap()
    };
    let mut first = connect(b"http/1.1").await;
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    first.read_to_string(&mut reply).await.ok();
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.contains("strict-transport-security: max-age"),
        "{reply}"
    );
    let second = hyper_util::rt::TokioIo::new(connect(b"h2").await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut send, connection) =
        hyper::client::conn::http2::handshake::<_, _, axum::body::Body>(executor, second).await.unwrap();
    let connection = tokio::spawn(connection);
    for host in [("localhost", 200), ("evil.example", 421)] {
        let request = http::Request::builder().uri(format!("https://{}/healthz", host.0));
        let reply = send.send_request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(reply.status().as_u16(), host.1, "{host:?}");
    }
    drop(send);
    connection.await.unwrap().unwrap();
}
