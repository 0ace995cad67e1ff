//! Pairing, devices, uploads.

use std::time::Duration;

use moongate_core::PromptMessage;
use moongate_protocol::Part;
use moongate_testkit::Setup;
use serde_json::{Value, json};

use crate::kit::{Got, Kit, MOUNTS, assert_has};

async fn code(kit: &Kit) -> String {
    let got = kit.post("/api/pairing/initiate", None).await;
    assert_eq!((got.status, &got.body["message"]), (200, &json!("New pairing code generated")), "{got:?}");
    let code = got.body["pairing_code"].as_str().unwrap().to_owned();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    code
}

async fn pair(kit: &Kit, code: &str) -> Got {
    kit.raw("POST", "/pair", &[("x-pairing-code", code.to_owned())], b"").await
}

#[tokio::test]
async fn g8_a_code_becomes_a_device_that_ends_when_it_is_revoked() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        let code = code(&kit).await;
        let got = pair(&kit, &code).await;
        assert_eq!(got.status, 200, "{got:?}");
        assert_has(
            &got.body,
            &json!({
                "paired": true, "persisted": true,
                "message": "Save this token — use it as Authorization: Bearer <token>",
            }),
        );
        let token = got.body["token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("mg_"));
        kit.restart().await;
        let devices = kit.get("/api/devices").await;
        assert_eq!((devices.status, &devices.body["count"]), (200, &json!(1)));
        let device = &devices.body["devices"][0];
        assert_has(
            device,
            &json!({
                "device_type": "legacy-pair", "name": null, "ip_address": "127.0.0.1", "current": false,
            }),
        );
        let scopes = json!(["sessions:read", "sessions:write", "approvals:decide", "usage:read"]);
        assert_eq!(device["scopes"], scopes);
        assert_eq!(kit.ask_as(&token, "GET", "/api/sessions", None).await.status, 200);
        let mut chat = kit.chat_as(&token, "session_id=s").await;
        chat.next().await;
        chat.say(json!({ "type": "connect", "device_name": "tablet" })).await;
        chat.until("connected").await;
        assert_eq!(kit.get("/api/devices").await.body["devices"][0]["name"], "tablet");
        let id = device["id"].as_str().unwrap();
        let got = kit.delete(&format!("/api/devices/{id}")).await;
        assert_eq!((got.status, got.body), (200, json!({ "message": "Device revoked", "device_id": id })));
        assert_eq!(chat.close_code().await, Some(1008));
        assert_eq!(kit.ask_as(&token, "GET", "/api/sessions", None).await.status, 401);
        let got = pair(&kit, &code).await;
        assert_eq!((got.status, &got.body["error"]), (403, &json!("Invalid pairing code")));
        assert_eq!(kit.delete(&format!("/api/devices/{id}")).await.body["code"], "device_not_found");
    }
}

#[tokio::test]
async fn c25_a_rotated_device_is_dead_until_it_is_paired_again_as_the_same_one() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        let body = json!({ "code": code(&kit).await, "device_name": "phone", "device_type": "mobile" });
        let got = kit.raw("POST", "/api/pair", &json_type(), body.to_string().as_bytes()).await;
        assert_eq!((got.status, &got.body["message"]), (200, &json!("Pairing successful")), "{got:?}");
        let token = got.body["token"].as_str().unwrap().to_owned();
        let id = kit.get("/api/devices").await.body["devices"][0]["id"].as_str().unwrap().to_owned();
        let mut chat = kit.chat_as(&token, "session_id=s").await;
        chat.next().await;
        let got = kit.post(&format!("/api/devices/{id}/token/rotate"), None).await;
        assert_eq!((got.status, &got.body["device_id"]), (200, &json!(id)), "{got:?}");
        assert_eq!(chat.close_code().await, Some(1008));
        assert_eq!(kit.ask_as(&token, "GET", "/api/sessions", None).await.status, 401);
        let again = pair(&kit, got.body["pairing_code"].as_str().unwrap()).await;
        let fresh = again.body["token"].as_str().unwrap().to_owned();
        kit.restart().await;
        assert_eq!(kit.ask_as(&token, "GET", "/api/sessions", None).await.status, 401);
        assert_eq!(kit.ask_as(&fresh, "GET", "/api/sessions", None).await.status, 200);
        let devices = kit.get("/api/devices").await.body;
        assert_eq!(devices["count"], 1);
        assert_has(&devices["devices"][0], &json!({ "id": id, "name": "phone", "device_type": "mobile" }));
    }
}

fn json_type() -> [(&'static str, String); 1] {
    [("content-type", "application/json".to_owned())]
}

#[tokio::test]
async fn c26_a_code_dies_by_time_use_and_guesses_and_one_client_locks_out_itself_only() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let late = code(&kit).await;
        kit.gateway.clock().advance(Duration::from_secs(600));
        assert_eq!(pair(&kit, &late).await.status, 403);
        let used = code(&kit).await;
        assert_eq!(pair(&kit, &used).await.status, 200);
        assert_eq!(pair(&kit, &used).await.status, 403);
        let good = code(&kit).await;
        let mut last = pair(&kit, "x").await;
        while last.status == 403 {
            last = pair(&kit, "x").await;
        }
        assert_eq!(last.status, 429, "loopback is limited too");
        assert_has(&last.body, &json!({ "paired": false, "code": "rate_limited" }));
        assert!(last.body["retry_after"].is_u64() && last.head.contains("retry-after:"));
        assert_eq!(pair(&kit, &good).await.status, 429);
        kit.gateway.clock().advance(Duration::from_secs(300));
        assert_eq!(pair(&kit, &good).await.status, 200);
        let audit = kit.gateway.disk().audit_entries(&"default".parse().unwrap(), 100).await.unwrap();
        let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
        for action in ["pairing.succeeded", "pairing.failed", "pairing.locked_out", "pairing.code"] {
            assert!(actions.contains(&action), "{action} in {actions:?}");
        }
    }
}

#[tokio::test]
async fn c26_a_client_behind_a_proxy_locks_out_itself_only() {
    for mount in MOUNTS {
        let mut kit = Kit::with(mount, Setup::default(), |settings| settings.pairing.max_failed = 5).await;
        kit.behind_a_proxy().await;
        let good = code(&kit).await;
        let pair_from = async |address: &str, code: &str| {
            let headers =
                [("x-pairing-code", code.to_owned()), ("x-forwarded-for", format!("9.9.9.9, {address}"))];
            kit.raw("POST", "/pair", &headers, b"").await.status
        };
        let mut bad = Vec::new();
        for _ in 0..6 {
            bad.push(pair_from("203.0.113.1", "x").await);
        }
        assert_eq!(bad, [403, 403, 403, 403, 403, 429]);
        assert_eq!(pair_from("203.0.113.1", &good).await, 429);
        assert_eq!(pair_from("203.0.113.2", &good).await, 200);
    }
}

#[tokio::test]
async fn c26_ten_wrong_guesses_from_anywhere_end_a_code() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        kit.behind_a_proxy().await;
        let good = code(&kit).await;
        let pair_from = async |n: usize, code: &str| {
            let headers =
                [("x-pairing-code", code.to_owned()), ("x-forwarded-for", format!("203.0.113.{n}"))];
            kit.raw("POST", "/pair", &headers, b"").await.status
        };
        for n in 0..10 {
            assert_eq!(pair_from(n, "x").await, 403);
        }
        assert_eq!(pair_from(99, &good).await, 403);
    }
}

#[tokio::test]
async fn c27_codes_are_never_public() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let code = code(&kit).await;
        for (method, path) in [("GET", "/admin/paircode"), ("POST", "/admin/paircode/new")] {
            assert_eq!(kit.raw(method, path, &[], b"").await.status, 401, "{path}");
        }
        let nothing = json!({ "success": true, "pairing_required": true, "pairing_code": null });
        assert_eq!(kit.raw("GET", "/pair/code", &[], b"").await.body, nothing);
        assert_eq!(kit.get("/pair/code").await.body, nothing);
        assert_eq!(kit.get("/admin/paircode").await.body["pairing_code"], code);
        let (_, eve) = kit.key_of("eve").await;
        let got = kit.ask_as(&eve, "GET", "/admin/paircode", None).await;
        assert_eq!(got.body["pairing_code"], Value::Null, "others' codes are theirs");
        let (_, reader) = kit.key_with("bob", json!(["sessions:read", "sessions:write"])).await;
        let got = kit.ask_as(&reader, "GET", "/admin/paircode", None).await;
        let forbidden = json!({ "error": "Forbidden — this key lacks keys:manage", "code": "forbidden" });
        assert_eq!((got.status, got.body), (403, forbidden));
        let kit = Kit::with(mount, Setup::default(), |settings| settings.pairing.enabled = false).await;
        let got = kit.post("/api/pairing/initiate", None).await;
        assert_eq!((got.status, &got.body["code"]), (503, &json!("pairing_disabled")));
        assert!(got.body["retry_after"].is_u64() && got.head.contains("retry-after:"));
        let got = kit.post("/admin/paircode/new", None).await;
        assert_eq!((got.status, &got.body["success"]), (400, &json!(false)));
    }
}

pub(crate) async fn upload(kit: &Kit, id: &str, name: &str, bytes: &[u8]) -> Got {
    let mut body = format!(
        "--B\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\nx\r\n--B\r\ncontent-disposition: \
         form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--B--\r\n");
    let headers = [
        ("authorization", format!("Bearer {}", kit.key)),
        ("content-type", "multipart/form-data; boundary=B".to_owned()),
    ];
    kit.raw("POST", &format!("/api/sessions/{id}/attachments"), &headers, &body).await
}

#[tokio::test]
async fn c28_uploads_have_a_size_and_need_a_key_and_an_id() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let big = vec![b'x'; 24 << 20];
        for size in [10 << 20, 24 << 20] {
            let got = upload(&kit, "s", "a.bin", &big[..size]).await;
            assert_eq!((got.status, &got.body["size"]), (201, &json!(size)), "{:?}", got.body);
        }
        let got = upload(&kit, "s", "a.bin", &vec![b'x'; 26 << 20]).await;
        assert_eq!((got.status, &got.body["code"]), (413, &json!("payload_too_large")));
        assert_eq!(upload(&kit, "s", "a.bin", b"").await.body["error"], "empty file");
        let got = upload(&kit, "..%2F..%2Ftmp", "a.bin", b"x").await;
        assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_session_id")));
        let path = "/api/sessions/s/attachments";
        assert_eq!(kit.raw("POST", path, &[], b"").await.status, 401);
        assert_eq!(kit.post(path, Some(json!({}))).await.status, 415);
        let got = upload(&kit, "s", "a.bin", b"x\r\n--B--").await;
        assert_eq!(got.status, 201);
    }
}

#[tokio::test]
async fn c29_an_upload_reaches_the_model_and_words_read_no_file() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let text = upload(&kit, "s", "/etc/notes.txt", "hällo".as_bytes()).await;
        assert_has(&text.body, &json!({ "filename": "notes.txt", "mime": "text/plain", "session_id": "s" }));
        let image = upload(&kit, "s", "a.png", b"\x89PNG\r\n\x1a\nrest").await;
        let ids = json!([text.body["file_id"], image.body["file_id"], "", 3]);
        let mut chat = kit.joined("s").await;
        chat.say(json!({ "type": "message", "content": "", "attachments": ids })).await;
        chat.until("done").await;
        let prompts = kit.gateway.model().prompts();
        let PromptMessage::User(parts) = &prompts[0][0] else { panic!("not a user's message") };
        assert!(matches!(&parts[0], Part::File { name, .. } if name == "notes.txt"), "{parts:?}");
        assert!(matches!(&parts[1], Part::Image { blob } if blob.media_type == "image/png"), "{parts:?}");
        let row = &kit.rows("s").await[0];
        assert_has(row, &json!({ "role": "user", "content": "" }));
        assert_eq!(row["attachments"][0]["filename"], "notes.txt");
        chat.message("[IMAGE:/etc/hostname]").await;
        chat.until("done").await;
        let prompts = kit.gateway.model().prompts();
        let Some(PromptMessage::User(parts)) = prompts[1].last() else { panic!("not a user's message") };
        assert_eq!(parts, &[Part::text("[IMAGE:/etc/hostname]")]);
        chat.say(json!({ "type": "message", "content": "x", "attachments": ["file_nope"] })).await;
        let error = chat.until("error").await.pop().unwrap();
        assert_eq!(error["code"], "ATTACHMENT_NOT_FOUND");
        let (_, eve) = kit.key_of("eve").await;
        let mut hers = kit.chat_as(&eve, "session_id=s").await;
        hers.next().await;
        hers.say(json!({ "type": "message", "content": "x", "attachments": [text.body["file_id"]] })).await;
        assert_eq!(hers.until("error").await.pop().unwrap()["code"], "ATTACHMENT_NOT_FOUND");
        let many = vec!["file_x"; 17];
        chat.say(json!({ "type": "message", "content": "x", "attachments": many })).await;
        assert_eq!(chat.until("error").await.pop().unwrap()["code"], "ATTACHMENT_LIMIT");
    }
}

#[tokio::test]
async fn c31_page_hints_are_of_one_turn_and_in_no_history() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut chat = kit.joined("s").await;
        for page in ["v2:agents", "agent_pool", "nonsense"] {
            chat.say(json!({ "type": "message", "content": "hi", "page_context": page })).await;
            chat.until("done").await;
        }
        let systems: Vec<_> =
            kit.gateway.model().requests().iter().map(|request| request.system.to_string()).collect();
        assert!(systems[0].contains("agents page open") && systems[0] == systems[1], "{systems:?}");
        assert!(!systems[2].contains("page open"));
        assert!(!Value::Array(kit.rows("s").await).to_string().contains("page open"));
        let prompts = format!("{:?}", kit.gateway.model().prompts());
        assert!(!prompts.contains("page open"));
    }
}
