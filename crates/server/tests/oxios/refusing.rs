//! What is refused, and how: frames, bodies, names, keys, rates.

use moongate_core::ToolResult;
use moongate_protocol::Effect;
use moongate_server::AppConfig;
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{Live, Mount, both, text, types};

both! {
    async fn golden_7_9_and_o31_malformed_frames_get_one_error_each_and_the_socket_lives(live: Setup::default()) {
        let mut socket = live.socket("").await;
        socket.say_text("{oops").await;
        let error = socket.next().await.unwrap();
        let expected = json!({"type": "error", "kind": "validation_error", "message": "frame is not valid JSON",
            "error": "frame is not valid JSON", "suggestion": null, "session_id": null});
        assert_eq!(error, expected);
        for bad in [
            "[]", "7", "null", "{}", r#"{"content":7}"#, r#"{"content":"  \n"}"#, r#"{"type":"message"}"#,
            r#"{"content":"x","session_id":"../up"}"#, r#"{"content":"x","request_id":"nope"}"#,
            r#"{"content":"a","content":"b"}"#, r#"{"type":"resume"}"#, r#"{"type":"resume","last_seq":-1}"#,
            r#"{"content":"x","temperature":"hot"}"#, r#"{"content":"x","temperature":9}"#,
            r#"{"content":"x","model":"no/such"}"#, r#"{"content":"x","persona_id":"dev"}"#,
        ] {
            socket.say_text(bad).await;
            let error = socket.next().await.unwrap();
            assert_eq!((&error["type"], &error["kind"]), (&json!("error"), &json!("validation_error")), "{bad}");
            assert!(error.get("message_id").is_none());
        }
        socket.say_bytes(b"{}").await;
        assert_eq!(socket.next().await.unwrap()["kind"], "validation_error");
        let long = "x".repeat(65_537);
        socket.say(json!({"content": long})).await;
        assert_eq!(socket.next().await.unwrap()["message"], "65537 bytes exceeds limit of 65536 bytes");
        socket.say(json!({"type": "ping"})).await;
        socket.say(json!({"type": "cancel", "session_id": "unknown"})).await;
        socket.say(json!({"type": "whatever", "content": "good"})).await;
        let frames = socket.until("done").await;
        assert_eq!((types(&frames)[0], text(&frames).as_str()), ("model", "ok"));
        socket.say_text(&"y".repeat((1 << 20) + 1)).await;
        assert_eq!(socket.close_code().await, Some(1009));
    }

    async fn a_hundred_malformed_frames_in_a_minute_close_the_socket(live: Setup::default()) {
        let mut socket = live.socket("").await;
        for _ in 0..100 {
            socket.say_text("x").await;
            socket.next().await.unwrap();
        }
        socket.say_text("x").await;
        assert_eq!(socket.close_code().await, Some(1008));
    }

    async fn bodies_are_refused_by_what_is_wrong_with_them(live: Setup::default()) {
        let table = [
            ("{oops", 400), ("[]", 422), ("{}", 422), (r#"{"content":7}"#, 422), (r#"{"content":"  "}"#, 400),
            (r#"{"content":"a","content":"b"}"#, 400), (r#"{"content":"x","session_id":"a/b"}"#, 400),
            (r#"{"content":"x","model":"no/such"}"#, 400), (r#"{"content":"x","persona_id":"p"}"#, 400),
            (r#"{"content":"x","max_tokens":-1}"#, 422), (r#"{"content":"x","request_id":"p"}"#, 400),
        ];
        let headers = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", live.key);
        for (body, status) in table {
            let reply = live.send("POST", "/api/chat", &headers, body).await;
            assert_eq!((reply.status, reply.body["error"].is_string()), (status, true), "{body}: {}", reply.body);
            assert!(reply.head.contains("content-type: application/json"));
        }
        let reply = live.post("/api/chat", json!({"content": "é".repeat(32_769)})).await;
        assert_eq!((reply.status, reply.body), (413, json!({"error": "65538 bytes exceeds limit of 65536 bytes"})));
        let bare = format!("authorization: Bearer {}\r\ncontent-type: text/plain\r\n", live.key);
        assert_eq!(live.send("POST", "/api/chat", &bare, "{}").await.status, 415);
        let both = live.chat(json!({"content": "one", "message": "two", "unknown": 1})).await;
        assert_eq!(both["echo"], "one");
    }

    async fn o15_ids_with_traversal_touch_nothing(live: Setup::default()) {
        for id in ["..%2F..%2Fconfig", "%2e%2e", "a%00b", "a%2Fb", "prune", &"x".repeat(300), "%F0%9F%90%95"] {
            for (method, path) in [("DELETE", format!("/api/sessions/{id}")), ("GET", format!("/api/sessions/{id}/tool-calls"))] {
                let headers = format!("authorization: Bearer {}\r\n", live.key);
                let reply = live.send(method, &path, &headers, "").await;
                assert!(matches!(reply.status, 400 | 404 | 405), "{method} {path}: {}", reply.status);
            }
        }
        for path in ["/api/skills/..%2Fx", "/api/seeds/..%2Fx", "/api/memory/..%2Fx"] {
            assert_eq!(live.delete(path).await.status, 404);
        }
    }

    async fn o16_unknown_routes_are_404_json_after_authentication(live: Setup::default()) {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            let headers = format!("authorization: Bearer {}\r\n", live.key);
            let reply = live.send(method, "/api/nope", &headers, "").await;
            let words = format!("not supported by this server: {method} /api/nope");
            assert_eq!((reply.status, reply.body), (404, json!({"error": words})));
            assert_eq!(live.send(method, "/api/nope", "", "").await.status, 401);
        }
        for path in ["/api/cron-jobs", "/api/projects", "/api/personas", "/api/seeds", "/api/skills", "/api/memory",
                     "/api/workspace/tree", "/api/spaces/current", "/openapi.json", "/api-docs"] {
            let reply = live.get(path).await;
            assert_eq!((reply.status, reply.body["error"].as_str().unwrap().starts_with("not supported")), (404, true));
        }
        let reply = live.post("/api/sessions", json!({})).await;
        assert_eq!((reply.status, reply.head.contains("allow:")), (405, true), "{}", reply.head);
        assert!(reply.body["error"].is_string());
    }

    async fn what_is_not_there_and_what_is_no_json_have_one_shape(live: Setup::default()) {
        let bearer = format!("authorization: Bearer {}\r\n", live.key);
        let uuid = "0199aa55-0001-7abc-8def-0123456789ab";
        for (method, path, words) in [
            ("GET", "/api/sessions/unknown".to_owned(), "session not found"),
            ("DELETE", "/api/sessions/unknown".to_owned(), "session not found"),
            ("GET", "/api/sessions/unknown/tool-calls".to_owned(), "session not found"),
            ("GET", format!("/api/agents/{uuid}"), "agent not found"),
            ("GET", format!("/api/agents/{uuid}/trace"), "agent not found"),
            ("GET", format!("/api/agents/{uuid}/logs"), "agent not found"),
            ("POST", format!("/api/agents/{uuid}/kill"), "agent not found"),
            ("POST", format!("/api/approvals/{uuid}/approve"), "approval not found or already decided"),
            ("POST", format!("/api/approvals/{uuid}/reject"), "approval not found or already decided"),
        ] {
            let reply = live.send(method, &path, &bearer, "").await;
            assert_eq!((reply.status, reply.body), (404, json!({"error": words})), "{method} {path}");
            assert!(reply.head.contains("content-type: application/json"), "{}", reply.head);
        }
        for (method, path) in [("POST", "/api/chat"), ("PUT", "/api/config"), ("PATCH", "/api/config"),
            ("POST", &format!("/api/chat/tool-approval/{uuid}/respond"))] {
            for kind in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
                let reply = live.send(method, path, &format!("{bearer}{kind}"), r#"{"content":"x"}"#).await;
                assert_eq!((reply.status, reply.body["error"].is_string()), (415, true), "{method} {path} {kind}");
                assert_eq!(reply.body.as_object().unwrap().len(), 1);
            }
        }
        // A route that takes no body takes an empty one of any type.
        let empty = format!("{bearer}content-type: application/json\r\n");
        assert_eq!(live.send("POST", "/api/sessions/prune", &empty, "").await.status, 200);
        assert_eq!(live.send("DELETE", "/api/sessions/unknown", &empty, "").await.status, 404);
        assert_eq!(live.get("/api/sessions").await.body["total"], 0);
    }

    async fn keys_of_the_gateway_are_masked_in_what_is_shown_of_tools(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read).answers(ToolResult::ok("found mg_api_0abc_canary here")))
    ) {
        live.kit.model().push([
            Script::calls(&[("look", json!({"header": "Bearer mg_api_1def_canary", "deep": [{"k": "mg_adm_canary"}]}))]),
            Script::says("Seen."),
        ]);
        let mut socket = live.socket("").await;
        let mut events = live.events("").await;
        socket.say(json!({"content": "look", "session_id": "s"})).await;
        let frames = socket.until("done").await;
        events.until("agent_stopped").await;
        let start = frames.iter().find(|f| f["type"] == "tool_start").unwrap();
        assert_eq!(start["tool_args"], json!({"header": "Bearer ***", "deep": [{"k": "***"}]}));
        let agent = live.get("/api/agents").await.body["items"][0]["id"].as_str().unwrap().to_owned();
        let mut shown = vec![json!(frames).to_string(), events.text.clone()];
        for path in ["/api/sessions/s/tool-calls", "/api/sessions/s", &format!("/api/agents/{agent}/trace"), &format!("/api/agents/{agent}/logs")] {
            shown.push(live.get(path).await.body.to_string());
        }
        assert!(shown[2].contains("found *** here") && shown[4].contains("found *** here"), "{shown:?}");
        assert!(shown.iter().all(|text| !text.contains("canary")), "{shown:?}");
    }

    async fn credentials_go_in_headers_and_nowhere_else(live: Setup::default()) {
        for name in ["token", "api_key", "access_token"] {
            let reply = live.get(&format!("/api/status?{name}=mg_api_x")).await;
            assert_eq!((reply.status, reply.body), (400, json!({"error": "credentials in URLs are not accepted"})));
        }
        let refused = live.open(&format!("token={}", live.key), &[]).await;
        assert!(refused.is_err());
        let bearer = [("authorization", format!("bEaReR {}", live.key))];
        assert!(live.open("", &bearer).await.is_ok());
        let bad = live.send("GET", "/api/status", "authorization: Bearer sk-ant-provider\r\n", "").await;
        assert_eq!((bad.status, bad.body), (401, json!({"error": "unauthorized"})));
        assert!(bad.head.contains("www-authenticate: bearer"));
        // A ticket that is there decides, whatever else is.
        assert!(live.open("ticket=wst_00000000000000000000000000000000", &bearer).await.is_err());
        let foreign = [("authorization", format!("Bearer {}", live.key)), ("origin", "https://evil.example".into())];
        assert!(live.open("", &foreign).await.is_err());
        let plain = live.send("GET", "/api/chat/stream", &format!("authorization: Bearer {}\r\n", live.key), "").await;
        assert_eq!((plain.status, plain.body["error"].is_string()), (426, true));
        let host = format!("authorization: Bearer {}\r\n", live.key);
        let reply = live.send("GET", "/api/status", &format!("{host}x: y\r\n"), "").await;
        assert_eq!(reply.status, 200);
        for header in ["cache-control: no-store", "x-content-type-options: nosniff", "referrer-policy: no-referrer"] {
            assert!(reply.head.contains(header), "{header}");
        }
    }

    async fn too_many_queued_messages_are_an_error_and_not_an_end(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("x").end()]);
        let mut socket = live.socket("").await;
        for n in 0..33 {
            socket.say(json!({"content": n.to_string(), "session_id": "s"})).await;
        }
        socket.until("model").await;
        socket.say(json!({"content": "one more", "session_id": "s"})).await;
        let error = socket.next().await.unwrap();
        assert_eq!((&error["kind"], &error["message"]), (&json!("validation_error"), &json!("too many queued messages")));
        let reply = live.post("/api/chat", json!({"content": "one more", "session_id": "s"})).await;
        assert_eq!((reply.status, reply.head.contains("retry-after")), (429, true));
        gate.open();
        for _ in 0..33 {
            socket.until("done").await;
        }
    }
}

#[tokio::test]
async fn o17_a_thousand_uses_of_a_ticket_are_one_and_a_revoked_key_has_none() {
    let change: fn(&mut AppConfig) =
        |app| app.doors.oxios.allowed_origins = vec!["https://page.example".into()];
    let mut live = Live::start(Setup::default(), Mount::Prefix, change).await;
    let ticket = live.ticket().await;
    let query = format!("ticket={ticket}");
    let mut opened = Vec::new();
    // As many at once as there are file descriptors for.
    for _ in 0..10 {
        let uses = (0..100).map(|_| live.open(&query, &[]));
        opened.extend(futures_util::future::join_all(uses).await.into_iter().filter_map(Result::ok));
    }
    assert_eq!(opened.len(), 1);
    let of_page = format!("authorization: Bearer {}\r\norigin: https://page.example\r\n", live.key);
    let bound = live.send("POST", "/api/chat/ticket", &of_page, "").await;
    assert_eq!(bound.status, 200, "{}", bound.body);
    let query = format!("ticket={}", bound.body["ticket"].as_str().unwrap());
    // Bound to the page that asked for it: whoever took it cannot use it elsewhere.
    assert!(live.open(&query, &[]).await.is_err());
    let bound = live.send("POST", "/api/chat/ticket", &of_page, "").await;
    let query = format!("ticket={}", bound.body["ticket"].as_str().unwrap());
    assert!(live.open(&query, &[("origin", "https://page.example".into())]).await.is_ok());
    let (id, secret) =
        live.new_key(json!({"label": "x", "scopes": ["sessions:read", "sessions:write"]})).await;
    let admin = live.becomes(&secret);
    let ticket = live.ticket().await;
    let mut open = live.socket("").await;
    open.say(json!({"content": "x"})).await;
    open.until("done").await;
    live.becomes(&admin);
    live.revoke(&id).await;
    assert!(live.open(&format!("ticket={ticket}"), &[]).await.is_err());
    assert_eq!(open.close_code().await, Some(1008));
}

#[tokio::test]
async fn o24_the_rate_of_one_key_is_its_own() {
    let mut live =
        Live::start(Setup::default(), Mount::Prefix, |app| app.doors.oxios.requests_per_minute = 3).await;
    let (_, other) = live.new_key(json!({"label": "x", "scopes": ["sessions:read"]})).await;
    for _ in 0..3 {
        assert_eq!(live.get("/api/status").await.status, 200);
    }
    let reply = live.get("/api/status").await;
    assert_eq!((reply.status, reply.body), (429, json!({"error": "rate limit exceeded"})));
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    live.becomes(&other);
    assert_eq!(live.get("/api/status").await.status, 200);
}

#[tokio::test]
async fn o24_a_flood_of_one_key_refuses_nobody_else() {
    let live =
        Live::start(Setup::default(), Mount::Prefix, |app| app.doors.oxios.requests_per_minute = 60).await;
    let (_, other) = live.new_key(json!({"label": "x", "scopes": ["sessions:read", "sessions:write"]})).await;
    let flood = futures_util::future::join_all((0..100).map(|_| live.get("/api/sessions"))).await;
    let refused: Vec<_> = flood.iter().filter(|reply| reply.status == 429).collect();
    assert!(refused.len() >= 35, "{}", refused.len());
    assert!(refused.iter().all(|reply| reply.head.contains("retry-after: ")));
    // Twenty queries of a UI, and a message on its socket.
    let mut live = live;
    live.becomes(&other);
    let mut socket = live.socket("").await;
    for _ in 0..20 {
        assert_eq!(live.get("/api/sessions").await.status, 200);
    }
    socket.say(json!({"content": "x"})).await;
    socket.until("done").await;
}

#[tokio::test]
async fn the_reply_is_not_waited_for_longer_than_the_settings_say() {
    let live = Live::start(Setup::default(), Mount::Prefix, |app| {
        app.doors.oxios.http_reply_timeout_secs = 1;
    })
    .await;
    let gate = Gate::new();
    live.kit.model().push([Script::new().gate(&gate).text("late").end()]);
    let reply = live.post("/api/chat", json!({"content": "x", "session_id": "s"})).await;
    assert_eq!((reply.status, &reply.body["error"]), (504, &json!("turn still running")));
    assert_eq!(reply.body["session_id"], "s");
    assert!(reply.body["id"].is_string());
    gate.open();
    let mut socket = live.socket("").await;
    socket.say(json!({"content": "y", "session_id": "s"})).await;
    socket.until("done").await;
    let detail = live.get("/api/sessions/s").await.body;
    assert_eq!(detail["agent_responses"][0]["content"], "late");
}

#[tokio::test]
async fn o2_another_principals_sockets_sessions_and_ids_are_walls_apart() {
    let mut live = Live::start(Setup::default(), Mount::Prefix, |_| {}).await;
    let scopes = json!(["sessions:read", "sessions:write"]);
    let mut keys = Vec::new();
    for principal in ["ada", "bea"] {
        keys.push(
            live.new_key(json!({"label": principal, "principal": principal, "scopes": scopes})).await.1,
        );
    }
    live.becomes(&keys[1]);
    let mut bea = live.socket("mirror=1").await;
    bea.say(json!({"content": "hers", "session_id": "same"})).await;
    bea.until("done").await;
    let mut events = live.events("").await;
    live.becomes(&keys[0]);
    let reply = live.chat(json!({"content": "his", "session_id": "same"})).await;
    assert_eq!(reply["session_id"], "same");
    let native = live.get("/api/sessions").await.body;
    assert_eq!((&native["total"], &native["items"][0]["message_count"]), (&json!(1), &json!(1)));
    let agents = live.get("/api/agents").await.body;
    assert_eq!(agents["total"], 1);
    let agent = agents["items"][0]["id"].as_str().unwrap().to_owned();
    bea.is_silent().await;
    live.becomes(&keys[1]);
    assert_eq!(live.get(&format!("/api/agents/{agent}")).await.status, 404);
    assert_eq!(live.post(&format!("/api/agents/{agent}/kill"), Value::Null).await.status, 404);
    live.chat(json!({"content": "hers again", "session_id": "same"})).await;
    events.until("agent_stopped").await;
    assert!(events.all().iter().all(|event| event["name"].is_null() || event["name"] == "hers again"));
}
