//! Sessions: made, listed, shown, changed, copied, moved, removed.

mod common;

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Gate, read};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

#[tokio::test]
async fn a_session_shows_what_it_was_made_with() {
    let gate = Gate::new();
    let made = json!({
        "agent": "other", "title": "Tides", "namespace": "user:bob", "metadata": { "a": "b" }, "alias": "x y"
    });
    let (status, body) = gate.post("/api/v1/sessions", made).await;
    assert_eq!(status, 201, "{body}");
    let (status, shown) = gate.get(&format!("/api/v1/sessions/{}", body["id"].as_str().unwrap())).await;
    assert_eq!((status, &shown), (http::StatusCode::OK, &body));
    let expected = json!({
        "agent": "other", "title": "Tides", "namespace": "user:bob", "metadata": { "a": "b" }, "alias": "x y",
        "owner": "admin", "state": "idle", "queue": [], "archived": false,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert_eq!(body["usage"], json!({ "input": 0, "output": 0, "calls": 0, "cost_usd": 0.0 }));
    assert_eq!(body["head"]["seq"], 1);
    assert!(body["created_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn the_same_alias_finds_the_same_session() {
    let gate = Gate::new();
    let (first, made) = gate.post("/api/v1/sessions", json!({ "alias": "mine" })).await;
    let (second, found) = gate.post("/api/v1/sessions", json!({ "alias": "mine" })).await;
    assert_eq!((first.as_u16(), second.as_u16()), (201, 200));
    assert_eq!(made["id"], found["id"]);
}

#[tokio::test]
async fn a_list_is_paged_without_gap_or_repeat() {
    let gate = Gate::new();
    let mut made = Vec::new();
    for n in 0..7 {
        let (_, body) = gate.post("/api/v1/sessions", json!({ "title": format!("number {n}") })).await;
        made.push(body["id"].as_str().unwrap().to_owned());
        gate.clock.advance(std::time::Duration::from_millis(1));
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = gate.get(&format!("/api/v1/sessions?limit=3{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let (_, found) = gate.get("/api/v1/sessions?q=number%203").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    for bad in
        ["limit=0", "limit=201", "limit=x", "cursor=%21", "state=busy", "nonsense=1", "limit=1&limit=2"]
    {
        let (status, body) = gate.get(&format!("/api/v1/sessions?{bad}")).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")), "{bad}");
    }
}

#[tokio::test]
async fn settings_change_and_wrong_ones_do_not() {
    let gate = Gate::new();
    let session = gate.session().await;
    let change = json!({ "title": "new", "archived": true, "metadata": { "k": "v" }, "policy": "read-only" });
    let (status, body) = gate.json("PATCH", &session, change).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (&body["title"], &body["archived"], &body["policy"]),
        (&json!("new"), &json!(true), &json!("read-only"))
    );
    let (_, listed) = gate.get("/api/v1/sessions?archived=true").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let table = [
        (json!({ "owner": "bob" }), 400),
        (json!({ "agent": "nobody" }), 422),
        (json!({ "title": "x".repeat(2000) }), 413),
        (json!({ "policy": "yolo" }), 400),
        (json!([]), 400),
    ];
    for (change, expected) in table {
        let (status, body) = gate.json("PATCH", &session, change.clone()).await;
        assert_eq!(status.as_u16(), expected, "{change} {body}");
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_audited() {
    let gate = Gate::new();
    let session = gate.session().await;
    assert_eq!(gate.delete(&session).await.0, 204);
    for path in ["", "/messages", "/events", "/export"] {
        let (status, body) = gate.get(&format!("{session}{path}")).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    assert_eq!(gate.delete(&session).await.0, 404);
    let (_, audit) = gate.get("/api/v1/audit").await;
    assert_eq!(audit["items"][0]["action"], "session.deleted");
    assert_eq!(audit["items"][0]["from"], "127.0.0.1");
}

#[tokio::test]
async fn a_transcript_is_paged_from_its_end() {
    let gate = Gate::new();
    let session = gate.session().await;
    for text in ["one", "two", "three"] {
        gate.turn(&session, text).await;
    }
    let (_, last) = gate.get(&format!("{session}/messages?limit=2")).await;
    let texts = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["parts"][0]["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&last), ["three", "echo: three"]);
    assert_eq!(last["more"], true);
    let (_, before) = gate.get(&format!("{session}/messages?before={}", last["items"][0]["seq"])).await;
    assert_eq!(texts(&before), ["one", "echo: one", "two", "echo: two"]);
    assert_eq!(before["more"], false);
}

#[tokio::test]
async fn a_fork_begins_as_its_original() {
    let gate = Gate::new();
    let session = gate.session().await;
    gate.turn(&session, "before").await;
    let (_, head) = gate.get(&session).await;
    gate.turn(&session, "after").await;
    let at = &head["head"]["seq"];
    let (status, fork) = gate.post(&format!("{session}/fork"), json!({ "at": at, "title": "twin" })).await;
    assert_eq!((status.as_u16(), &fork["title"]), (201, &json!("twin")), "{fork}");
    let path = format!("/api/v1/sessions/{}", fork["id"].as_str().unwrap());
    let (_, messages) = gate.get(&format!("{path}/messages")).await;
    assert_eq!(messages["items"].as_array().unwrap().len(), 2);
    let (status, body) = gate.post(&format!("{session}/fork"), json!({ "at": 10_000 })).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_position")));
}

#[tokio::test]
async fn an_export_comes_back_as_a_session_of_its_own() {
    let gate = Gate::new();
    let session = gate.session().await;
    gate.turn(&session, "remember me").await;
    let request = gate.request("GET", &format!("{session}/export")).body(Body::empty()).unwrap();
    let response = gate.send(request).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let log = response.into_body().collect().await.unwrap().to_bytes();
    let send = |log: Vec<u8>| {
        let request = gate.request("POST", "/api/v1/sessions/import");
        request.header("content-type", "application/x-ndjson").body(Body::from(log)).unwrap()
    };
    let (status, made) = read(gate.send(send(log.to_vec())).await).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/v1/sessions/{}", made["id"].as_str().unwrap());
    let (_, messages) = gate.get(&format!("{path}/messages")).await;
    assert_eq!(messages["items"][1]["parts"][0]["text"], "echo: remember me");
    assert_eq!(gate.turn(&path, "still there?").await["text"], "echo: still there?");
    let lines: Vec<_> = log.split(|b| *b == b'\n').collect();
    let without_first = lines[1..].join(&b'\n');
    for (bad, what) in
        [(&without_first[..], "headless"), (b"{}", "no event"), (b"", "empty"), (b"{\n", "cut")]
    {
        let (status, body) = read(gate.send(send(bad.to_vec())).await).await;
        assert_eq!(status, 400, "{what} {body}");
    }
    let part = r#"{"type":"text","text":"remember me"}"#;
    let text = String::from_utf8(log.to_vec()).unwrap();
    assert!(text.contains(part), "{text}");
    let (status, body) =
        read(gate.send(send(text.replacen(part, r#"["text","remember me"]"#, 1).into())).await).await;
    assert_eq!(status, 400, "a list for an object {body}");
    let mut created: Value = serde_json::from_slice(lines[0]).unwrap();
    created["title"] = "x".repeat(2000).into();
    let (status, body) = read(gate.send(send(created.to_string().into_bytes())).await).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (413, &json!("too_large")), "{body}");
}

#[tokio::test]
async fn an_image_is_kept_apart_and_shown_to_its_session_only() {
    let gate = Gate::new();
    let session = gate.session().await;
    let bytes = b"<svg onload=alert(1)>";
    let image = json!({ "type": "image", "media_type": "image/svg+xml", "data": STANDARD.encode(bytes) });
    let parts = json!({ "parts": [{ "type": "text", "text": "look" }, image] });
    let (status, body) = gate.post(&format!("{session}/inputs"), parts).await;
    assert_eq!(status, 202, "{body}");
    let (_, messages) = gate.get(&format!("{session}/messages")).await;
    let blob = messages["items"][0]["parts"][1]["blob"].clone();
    assert_eq!((&blob["media_type"], &blob["bytes"]), (&json!("image/svg+xml"), &json!(bytes.len())));
    let path = format!("{session}/blobs/{}", blob["hash"].as_str().unwrap());
    let response = gate.send(gate.request("GET", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), bytes[..]);
    // The same blob again in this session, by its hash.
    let again = json!({ "parts": [{ "type": "image", "blob": blob }] });
    assert_eq!(gate.post(&format!("{session}/inputs"), again.clone()).await.0, 202);
    // Another session has no such blob, whoever knows its hash.
    let other = gate.session().await;
    assert_eq!(gate.get(&path.replace(&session, &other)).await.0, 404);
    assert_eq!(gate.post(&format!("{other}/inputs"), again).await.0, 400);
    let mentioned = json!({ "text": format!("{{\"hash\":{}}}", blob["hash"]) });
    assert_eq!(gate.post(&format!("{other}/inputs"), mentioned).await.0, 202);
    assert_eq!(gate.get(&path.replace(&session, &other)).await.0, 404);
}

/// Names are bounded in bytes, as the OpenAPI document says: a character may have up to four.
#[tokio::test]
async fn an_alias_is_bounded_in_bytes() {
    let gate = Gate::new();
    let (_, document) = gate.get("/api/v1/openapi.json").await;
    let most = moongate_protocol::Alias::MAX_BYTES;
    let alias = &document["components"]["schemas"]["Alias"];
    assert!(alias.to_string().contains(&format!("At most {most} bytes")), "{alias}");
    for (alias, expected) in [("é".repeat(most / 2), 201), ("é".repeat(most / 2 + 1), 400)] {
        let (status, body) = gate.post("/api/v1/sessions", json!({ "alias": alias })).await;
        assert_eq!(status, expected, "{} bytes: {body}", alias.len());
    }
}
