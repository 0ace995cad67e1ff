//! What nobody should send, and clients that go away at the wrong moment.

use futures_util::future::join_all;
use moongate_testkit::Script;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{Live, SOON, asks, http, socket::Socket};

fn says(text: &str) -> Value {
    json!({"model": "moongate/main", "input": text})
}

/// Sends bytes and gives the status of the reply.
async fn status_of(live: &Live, bytes: &[u8]) -> Option<u16> {
    let mut socket = tokio::net::TcpStream::connect(live.serving.address).await.unwrap();
    // A server that refuses may have closed already.
    drop(socket.write_all(bytes).await);
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while !reply.windows(2).any(|pair| pair == b"\r\n") {
        match tokio::time::timeout(SOON, socket.read(&mut buffer)).await.expect("bytes or an end") {
            Ok(0) | Err(_) => return None,
            Ok(count) => reply.extend_from_slice(&buffer[..count]),
        }
    }
    std::str::from_utf8(&reply[9..12]).unwrap().parse().ok()
}

fn request(live: &Live, line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let (key, length) = (&live.serving.key, body.len());
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_before_anything_begins() {
    let live = Live::new().await;
    let deep = "[".repeat(100_000);
    let json = "content-type: application/json\r\n";
    let cases: [(&str, &[u8], u16); 9] = [
        (json, b"", 400),
        (json, b"{", 400),
        (json, b"null", 400),
        (json, b"\xff\xfe{}", 400),
        (json, b"{\"model\":\"moongate/main\",\"input\":\"\\ud800\"}", 400),
        (json, b"{\"model\":\"moongate/main\",\"model\":\"other\",\"input\":\"x\",\"messages\":[]}", 400),
        (json, deep.as_bytes(), 400),
        ("content-type: text/plain\r\n", b"{}", 415),
        ("", b"{}", 415),
    ];
    for path in ["/chat/completions", "/responses", "/conversations"] {
        for (headers, body, status) in cases {
            let bytes = request(&live, &format!("POST /openai/v1{path}"), headers, body);
            // A conversation begins with nothing as well.
            if path == "/conversations" && body.starts_with(b"{\"model") {
                continue;
            }
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(status_of(&live, &bytes).await, Some(status), "{path} {headers} {shown}");
        }
    }
    for path in ["/chat/completions", "/responses"] {
        let line = format!("POST /openai/v1{path}");
        let head = request(&live, &line, json, b"");
        let head =
            String::from_utf8(head).unwrap().replace("content-length: 0", "content-length: 99999999999");
        assert_eq!(status_of(&live, head.as_bytes()).await, Some(413), "{path}");
    }
    assert!(live.kit.model().requests().is_empty());
}

#[tokio::test]
async fn ids_of_any_kind_are_found_or_not_and_never_more() {
    let live = Live::new().await;
    let long = "x".repeat(1 << 20);
    let real = live.post("/responses", says("hi")).await.ok()["id"].as_str().unwrap().to_owned();
    let conversation = format!("conv_{}", &real[5..31]);
    live.get(&format!("/conversations/{conversation}")).await.ok();
    let moved = format!("{}7", &real[..57]);
    let bad = [
        "..",
        "../x",
        "..%2f..%2fetc",
        "%2e%2e",
        "%00",
        "a%00b",
        "a%2Fb",
        "%ff",
        "%F0%9F%98%80",
        "resp_",
        "conv_",
        "resp_%C3%A9",
        "' OR 1=1",
        "*",
        "{id}",
        "null",
        "0",
        &moved,
        &conversation.to_uppercase(),
        &long,
    ];
    for id in bad {
        let shown = &id[..id.len().min(40)];
        let id = id.replace(' ', "%20");
        let paths = [
            ("GET", format!("/responses/{id}")),
            ("GET", format!("/responses/{id}?stream=true")),
            ("DELETE", format!("/responses/{id}")),
            ("POST", format!("/responses/{id}/cancel")),
            ("GET", format!("/responses/{id}/input_items")),
            ("GET", format!("/conversations/{id}")),
            ("DELETE", format!("/conversations/{id}")),
            ("GET", format!("/conversations/{id}/items")),
            ("GET", format!("/conversations/{conversation}/items/{id}")),
            ("GET", format!("/models/{id}")),
        ];
        for (method, path) in paths {
            let bytes = request(&live, &format!("{method} /openai/v1{path}"), "", b"");
            let status = status_of(&live, &bytes).await;
            // A head that is too long may be cut off without a word.
            let fine = status.map_or(id.len() > 60_000, |status| [400, 404, 405, 414, 431].contains(&status));
            assert!(fine, "{method} {} {shown}: {status:?}", &path[..path.len().min(60)]);
        }
        for field in ["previous_response_id", "conversation", "model"] {
            let mut body = says("hi");
            body[field] = json!(id);
            let reply = live.post("/responses", body).await;
            assert!([400, 404].contains(&reply.status), "{field} {shown}: {reply:?}");
            assert!(reply.body.len() < 1000, "it is not all said back");
        }
    }
    let raw = [b"GET /openai/v1/responses/\xff\xfe".as_slice(), b"GET /openai/v1/responses/a\0b"];
    for line in raw {
        let rest =
            format!(" HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", live.serving.key);
        let status = status_of(&live, &[line, rest.as_bytes()].concat()).await;
        assert!(matches!(status, Some(400 | 404)), "{status:?}");
    }
    assert_eq!(live.kit.model().requests().len(), 1);
    live.get(&format!("/responses/{real}")).await.ok();
}

#[tokio::test]
async fn names_of_sessions_are_any_text_that_a_header_can_have_and_belong_to_their_principal() {
    let live = Live::new().await;
    let bob = live.key(json!({"principal": "bob"})).await;
    let eve = live.key(json!({"principal": "eve"})).await;
    let mut seen = std::collections::BTreeSet::new();
    for name in ["../x", "a/b", "a%00b", "ses_", "conv_x", "default", &"x".repeat(500)] {
        for key in [&bob, &eve] {
            let (bearer, asked) = (key.bearer(), live.kit.model().requests().len());
            let headers = [("x-moongate-session", name), ("authorization", &*bearer)];
            let first = http::send(&live, "POST", "/chat/completions", Some(asks("hi")), &headers).await;
            first.ok();
            let again = http::send(&live, "POST", "/chat/completions", Some(asks("hi")), &headers).await;
            let session = first.header("x-moongate-session").unwrap().to_owned();
            assert_eq!(again.header("x-moongate-session"), Some(session.as_str()), "{name}");
            assert!(seen.insert(session), "one owner's {name} is not another's");
            let prompts = live.kit.model().prompts();
            let lengths: Vec<_> = prompts[asked..].iter().map(Vec::len).collect();
            assert_eq!(lengths, [1, 3], "{name}");
        }
    }
    for name in [" ", &"x".repeat(1000)] {
        let headers = [("x-moongate-session", name)];
        let reply = http::send(&live, "POST", "/chat/completions", Some(asks("hi")), &headers).await;
        assert_eq!(reply.status, 400, "{name}");
    }
    for session in &seen {
        let headers = [("x-moongate-session", session.as_str()), ("authorization", &*bob.bearer())];
        let reply = http::send(&live, "POST", "/chat/completions", Some(asks("hi")), &headers).await;
        assert!([200, 404].contains(&reply.status), "{reply:?}");
    }
}

#[tokio::test]
async fn what_another_made_is_not_there_under_any_id() {
    let live = Live::new().await;
    let bob = live.key(json!({"principal": "bob"})).await;
    let eve = live.key(json!({"principal": "eve"})).await;
    let made = live.ask(&bob, "POST", "/conversations", Some(json!({}))).await.ok()["id"].clone();
    let within = json!({"model": "moongate/main", "input": "hi", "conversation": made});
    let response = live.ask(&bob, "POST", "/responses", Some(within.clone())).await.ok()["id"].clone();
    let (made, response) = (made.as_str().unwrap(), response.as_str().unwrap());
    let items = json!({"items": [{"role": "user", "content": "x"}]});
    let routes = [
        ("GET", format!("/responses/{response}"), None),
        ("GET", format!("/responses/{response}?stream=true"), None),
        ("GET", format!("/responses/{response}/input_items"), None),
        ("POST", format!("/responses/{response}/cancel"), Some(json!({}))),
        ("DELETE", format!("/responses/{response}"), None),
        ("GET", format!("/conversations/{made}"), None),
        ("POST", format!("/conversations/{made}"), Some(json!({"metadata": {}}))),
        ("GET", format!("/conversations/{made}/items"), None),
        ("POST", format!("/conversations/{made}/items"), Some(items)),
        ("DELETE", format!("/conversations/{made}"), None),
        ("POST", "/responses".into(), Some(within)),
    ];
    for (method, path, body) in routes {
        let reply = live.ask(&eve, method, &path, body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (404, &json!("not_found")),
            "{method} {path}"
        );
    }
    let after = json!({"model": "moongate/main", "input": "x", "previous_response_id": response});
    let reply = live.ask(&eve, "POST", "/responses", Some(after)).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
    live.ask(&bob, "GET", &format!("/responses/{response}"), None).await.ok();
}

#[tokio::test]
async fn foreign_pages_and_names_are_refused_over_http_and_websocket() {
    let live = Live::new().await;
    let cases = [("origin", "https://evil.example", 403), ("host", "evil.example", 421)];
    for (name, value, status) in cases {
        for (method, path, body) in
            [("GET", "/models", None), ("POST", "/responses", Some(says("x"))), ("GET", "/responses", None)]
        {
            let reply = http::send(&live, method, path, body, &[(name, value)]).await;
            assert_eq!(reply.status, status, "{name} {method} {path}");
            assert!(reply.json()["error"]["message"].is_string());
        }
        let bearer = format!("Bearer {}", live.serving.key);
        let refused = Socket::with(&live, &bearer, &[(name, value)]).await.err().unwrap();
        assert_eq!(refused.status().as_u16(), status);
    }
    for bearer in ["Bearer mg_no", "Basic x", ""] {
        let refused = Socket::with(&live, bearer, &[]).await.err().unwrap();
        assert_eq!(refused.status().as_u16(), 401, "{bearer}");
    }
    assert!(live.kit.model().requests().is_empty());
}

#[tokio::test]
async fn frames_that_are_bytes_too_large_or_too_many_harm_only_themselves() {
    let live = Live::new().await;
    let mut socket = Socket::open(&live).await;
    socket.message(Message::binary(vec![0, 159, 146, 150])).await;
    let refused = socket.next().await;
    assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(400)));
    let gate = moongate_testkit::Gate::new();
    live.push([Script::new().gate(&gate).text("a").end()]);
    for _ in 0..20 {
        socket.create(json!({})).await;
    }
    gate.reached().await;
    let mut refused = 0;
    while refused < 3 {
        let frame = socket.next().await;
        refused += usize::from(frame["type"] == "error" && frame["status"] == 429);
    }
    gate.open();
    for _ in 0..17 {
        assert_eq!(socket.response().await.pop().unwrap()["type"], "response.completed");
    }
    let large = json!({"type": "response.create", "input": "x".repeat(5 << 20)}).to_string();
    // The server may have closed already.
    drop(tokio::time::timeout(SOON, socket.try_send(Message::text(large))).await);
    assert!(matches!(socket.close_code().await, Some(1009) | None));
    live.post("/responses", says("hi")).await.ok();
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_frame_finds_all_of_it_later() {
    let live = Live::new().await;
    let script = || Script::new().text("one ").text("two ").text("three").end();
    live.push([script()]);
    let mut body = says("hi");
    body["stream"] = json!(true);
    let frames = live.stream("/responses", body.clone()).await.rest().await.len();
    assert!(frames > 6);
    let over_http = (1..frames).map(async |count| {
        let mut stream = live.stream("/responses", body.clone()).await;
        let id = stream.next().await.unwrap().json()["response"]["id"].as_str().unwrap().to_owned();
        for _ in 1..count {
            stream.next().await.unwrap();
        }
        id
    });
    live.push((1..frames).map(|_| script()));
    let mut ids = join_all(over_http).await;
    live.push((1..frames).map(|_| script()));
    let over_socket = (1..frames).map(async |count| {
        let mut socket = Socket::open(&live).await;
        socket.create(json!({})).await;
        for _ in 0..count {
            socket.next().await;
        }
        socket.id.unwrap()
    });
    ids.extend(join_all(over_socket).await);
    for id in ids {
        let mut again = http::open(&live, "GET", &format!("/responses/{id}?stream=true"), None, &[]).await;
        let last = again.rest().await.pop().unwrap().json();
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], "one two three");
        assert_eq!(live.get(&format!("/responses/{id}")).await.ok(), last["response"]);
    }
}
