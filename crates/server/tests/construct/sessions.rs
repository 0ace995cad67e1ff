//! Sessions over HTTP.

use serde_json::json;

use crate::kit::{Kit, MOUNTS, assert_has};

#[tokio::test]
async fn sessions_are_listed_named_and_deleted() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut chat = kit.joined("s-1").await;
        chat.message("hello").await;
        chat.until("done").await;
        let got = kit.get("/api/sessions").await;
        let row = &got.body["sessions"][0];
        assert_has(
            row,
            &json!({ "id": "s-1", "channel": "gateway", "message_count": 2, "status": "active" }),
        );
        let put =
            kit.ask_as(&kit.key, "PUT", "/api/sessions/s-1", Some(json!({ "name": " Work\u{7} " }))).await;
        assert_eq!((put.status, put.body), (200, json!({ "session_id": "s-1", "name": "Work" })));
        assert_has(&chat.until("session_renamed").await.pop().unwrap(), &json!({ "name": "Work" }));
        assert_eq!(kit.get("/api/sessions/gw_s-1").await.body["name"], "Work");
        for bad in [json!({}), json!({ "name": "  " }), json!({ "name": 3 })] {
            let got = kit.ask_as(&kit.key, "PUT", "/api/sessions/s-1", Some(bad)).await;
            assert_eq!((got.status, &got.body["code"]), (400, &json!("name_required")));
            assert_eq!(got.body["error"], "name is required");
        }
        let got = kit.delete("/api/sessions/s-1").await;
        assert_eq!((got.status, got.body), (200, json!({ "deleted": true, "session_id": "s-1" })));
        chat.until("session_deleted").await;
        let got = kit.delete("/api/sessions/s-1").await;
        assert_eq!(got.status, 404);
        assert_eq!(got.body, json!({ "error": "Session not found", "code": "session_not_found" }));
        assert_eq!(kit.rows("s-1").await.len(), 0);
    }
}

#[tokio::test]
async fn c32_unknown_paths_are_json_and_a_key_is_asked_for() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let got = kit.get("/api/nonsense").await;
        assert_eq!((got.status, got.body), (404, json!({ "error": "Not found", "code": "not_found" })));
        let got = kit.raw("GET", "/api/cost", &[], b"").await;
        assert_eq!((got.status, &got.body["code"]), (401, &json!("unauthorized")));
        assert!(got.head.contains("www-authenticate: bearer"));
        for path in ["/api/memory", "/api/workflows/x", "/ws/terminal", "/metrics", "/_app/index.js"] {
            for method in ["GET", "POST", "DELETE"] {
                let got = kit.raw(method, path, &[], b"").await;
                let body = json!({ "error": "Not supported by this gateway", "code": "out_of_scope" });
                assert_eq!((got.status, got.body), (404, body), "{method} {path}");
            }
        }
        let got = kit.raw("DELETE", "/health", &[], b"").await;
        assert_eq!((got.status, &got.body["code"]), (405, &json!("method_not_allowed")));
        assert!(got.head.contains("allow: get,head"));
    }
}

#[tokio::test]
async fn c07_another_principal_has_another_session_of_the_same_name() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let (_, eve) = kit.key_of("eve").await;
        let mut hers = kit.chat_as(&eve, "session_id=s-1").await;
        hers.next().await;
        let mut his = kit.joined("s-1").await;
        his.message("secret").await;
        his.until("done").await;
        assert_eq!(hers.so_far().await, [] as [serde_json::Value; 0]);
        for (method, path) in [
            ("GET", "/api/sessions/s-1"),
            ("GET", "/api/sessions/s-1/state"),
            ("DELETE", "/api/sessions/s-1"),
        ] {
            assert_eq!(kit.ask_as(&eve, method, path, None).await.status, 404, "{method} {path}");
        }
        let got = kit.ask_as(&eve, "GET", "/api/sessions", None).await;
        assert_eq!(got.body, json!({ "sessions": [] }));
        let got = kit.ask_as(&eve, "GET", "/api/sessions/s-1/messages", None).await;
        assert_eq!(got.body["messages"], json!([]));
        let got = kit.ask_as(&eve, "POST", "/api/sessions/s-1/abort", None).await;
        assert_eq!(got.body, json!({ "status": "no_active_response" }));
        let got = kit.ask_as(&eve, "GET", "/api/cost", None).await;
        assert_eq!(got.body["cost"]["request_count"], 0);
        let got = kit.get("/api/cost").await;
        assert_has(
            &got.body["cost"],
            &json!({ "request_count": 1, "unpriced_requests": 1, "total_tokens": 12 }),
        );
        assert_eq!(got.body["cost"]["by_model"]["scripted/main"]["request_count"], 1);
    }
}

#[tokio::test]
async fn c15_an_empty_id_is_a_new_session_and_a_name_survives_a_restart() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(kit.chat("session_id=").await.next().await["session_id"].clone());
        }
        assert_ne!(ids[0], ids[1]);
        let mut named = kit.chat("session_id=n&name=My%20work").await;
        assert_has(&named.next().await, &json!({ "name": "My work", "resumed": false, "message_count": 0 }));
        kit.restart().await;
        assert_eq!(kit.get("/api/sessions/n").await.body["name"], "My work");
        assert_eq!(kit.chat("session_id=n").await.next().await["name"], "My work");
    }
}

#[tokio::test]
async fn the_status_routes_tell_more_to_a_key() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let got = kit.raw("GET", "/health", &[], b"").await;
        assert_eq!((got.status, &got.body["status"]), (200, &json!("ok")));
        assert_has(&got.body, &json!({ "paired": false, "require_pairing": true }));
        assert_eq!(got.body["runtime"]["pid"], 0);
        assert_eq!(got.body["runtime"]["components"], json!({}));
        assert_ne!(kit.get("/health").await.body["runtime"]["pid"], 0);
        let got = kit.raw("GET", "/api/status", &[], b"").await;
        assert!(got.body.get("model").is_none() && got.body["uptime_seconds"].is_u64());
        let got = kit.get("/api/status").await;
        assert_has(&got.body, &json!({ "provider": "scripted", "model": "main", "status": "running" }));
        assert_eq!(got.body["gateway_port"], kit.address().port());
        assert_eq!(kit.ask_as("mg_bad", "GET", "/api/status", None).await.status, 401);
        assert_eq!(kit.get("/api/health").await.body["health"]["components"]["store"]["status"], "ok");
        assert_eq!(kit.get("/api/tools").await.body, json!({ "tools": [] }));
    }
}

#[test]
fn settings_that_would_stop_the_door_are_faults() {
    let mut doors = moongate_server::Doors::default();
    assert_eq!(doors.faults(), []);
    (doors.construct.queue.depth, doors.construct.timing.ping_secs) = (0, 0);
    doors.construct.allowed_origins = vec!["*".into()];
    let paths: Vec<_> = doors.faults().iter().map(|fault| fault.path.join(".")).collect();
    let keys = ["allowed_origins", "queue.depth", "timing.ping_secs"];
    assert_eq!(paths, keys.map(|key| format!("construct.{key}")));
}
