//! What every request has to pass: the frozen public list, names, origins, bodies, and one shape of refusal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use axum::body::Body;
use common::{Gate, anonymous, read};
use http::{Request, StatusCode};
use serde_json::{Value, json};

/// Routes that need no key. Nothing is added here without a reason.
const PUBLIC: [&str; 14] = [
    "/",
    "/assets/a.js",
    "/favicon.svg",
    "/healthz",
    "/live",
    "/readyz",
    "/s/ses_00000000000000000000000000",
    "/s/ses_00000000000000000000000000/log",
    "/setup",
    "/setup/agents",
    "/signin",
    "/signin/code",
    "/usage",
    "/waiting",
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];

fn is_refusal(body: &Value) -> bool {
    let error = &body["error"];
    body.as_object().is_some_and(|body| body.len() == 1)
        && error["code"].is_string()
        && error["message"].as_str().is_some_and(|message| !message.is_empty())
}

/// Every path of the document, with ids in the place of parameters.
fn paths() -> Vec<(String, Value)> {
    let document: Value = serde_json::from_str(&moongate_server::document().unwrap()).unwrap();
    let fill = |path: &str| {
        path.replace("{session}", "ses_00000000000000000000000000")
            .replace("{input}", "inp_00000000000000000000000000")
            .replace("{approval}", "apr_00000000000000000000000000")
            .replace("{question}", "qst_00000000000000000000000000")
            .replace("{key}", "key_00000000000000000000000000")
            .replace("{hash}", &"0".repeat(64))
            .replace("{file}", "a.js")
            .replace("{part}", "agents")
            .replace("{code}", "code")
    };
    let paths = document["paths"].as_object().unwrap().iter();
    paths.map(|(path, item)| (fill(path), item.clone())).collect()
}

#[tokio::test]
async fn without_a_key_only_the_public_list_answers() {
    let gate = Gate::new();
    let mut public = Vec::new();
    for (path, item) in paths() {
        assert!(!path.contains('{'), "{path}: give its parameter a value here");
        let open = item["get"].is_object() && item["get"]["security"].is_null();
        if open {
            public.push(path);
            continue;
        }
        for method in METHODS {
            let request = anonymous(method, &path).header("content-type", "application/json");
            let response = gate.send(request.body(Body::from("{}")).unwrap()).await;
            let status = response.status();
            assert_eq!(status, 401, "{method} {path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            if method != "HEAD" {
                assert!(is_refusal(&read(response).await.1), "{method} {path}");
            }
        }
    }
    public.sort();
    assert_eq!(public, PUBLIC);
    let (status, body) =
        read(gate.send(anonymous("GET", "/no/such").body(Body::empty()).unwrap()).await).await;
    assert_eq!((status, is_refusal(&body)), (StatusCode::UNAUTHORIZED, true));
}

#[tokio::test]
async fn every_documented_operation_is_routed_and_every_other_method_is_405() {
    let gate = Gate::new();
    for (path, item) in paths() {
        for method in METHODS {
            let documented = item[method.to_ascii_lowercase()].is_object();
            if documented && path.ends_with("/import") {
                continue;
            }
            let request = gate.request(method, &path).header("content-type", "application/json");
            let response = gate.send(request.body(Body::from("{}")).unwrap()).await;
            let status = response.status();
            let is_head_of_get = method == "HEAD" && item["get"].is_object();
            assert_eq!(status == 405, !documented && !is_head_of_get, "{method} {path} {status}");
            if documented {
                let known = &item[method.to_ascii_lowercase()]["responses"][status.as_str()];
                assert!(known.is_object(), "{method} {path} answers {status}, which is not documented");
            }
            let is_error = status.is_client_error() || status.is_server_error();
            if is_error && method != "HEAD" {
                assert!(is_refusal(&read(response).await.1), "{method} {path} {status}");
            }
        }
    }
    let (status, body) = gate.get("/api/v1/nothing").await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn names_and_origins_are_checked_before_anything_else() {
    let gate = Gate::with(|config| {
        config.hosts = vec!["gate.example".into()];
        config.origins = vec!["https://ui.example".into()];
    });
    let send = |path: &str, headers: &[(&str, &str)]| {
        let key = format!("Bearer {}", gate.admin);
        let mut request = Request::builder().uri(path).header("authorization", key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        gate.send(request.body(Body::empty()).unwrap())
    };
    for path in ["/healthz", "/api/v1/whoami", "/metrics", "/no/such"] {
        let good = send(path, &[("host", "gate.example"), ("origin", "https://ui.example")]).await.status();
        assert!(good == 200 || good == 404, "{path} {good}");
        for host in ["evil.example", "localhost.evil.example", "gate.example.", "127.0.0.1.nip.example"] {
            let (status, body) = read(send(path, &[("host", host)]).await).await;
            assert_eq!(
                (status.as_u16(), &body["error"]["code"]),
                (421, &json!("misdirected")),
                "{path} {host}"
            );
        }
        assert_eq!(send(path, &[]).await.status(), 421);
        for origin in ["null", "https://evil.example", "http://ui.example", "https://ui.example.evil"] {
            let response = send(path, &[("host", "localhost"), ("origin", origin)]).await;
            assert!(!response.headers().contains_key("access-control-allow-origin"));
            assert_eq!(response.status(), 403, "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn a_listed_page_may_ask_and_read_and_another_may_not() {
    let gate = Gate::with(|config| config.origins = vec!["https://ui.example".into()]);
    let ask = |origin: &'static str| {
        let request = anonymous("OPTIONS", "/api/v1/sessions").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        gate.send(request.body(Body::empty()).unwrap())
    };
    let listed = ask("https://ui.example").await;
    assert_eq!(listed.status(), 204);
    assert_eq!(listed.headers()["access-control-allow-origin"], "https://ui.example");
    assert_eq!(listed.headers()["vary"], "Origin");
    let headers = listed.headers()["access-control-allow-headers"].to_str().unwrap();
    for sent in ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer"] {
        assert!(headers.split(", ").any(|header| header == sent), "{sent}");
    }
    assert!(!listed.headers().contains_key("access-control-allow-credentials"));
    let request = gate.request("GET", "/api/v1/whoami").header("origin", "https://ui.example");
    let read = gate.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(read.status(), 200);
    assert_eq!(read.headers()["access-control-allow-origin"], "https://ui.example");
    assert_eq!(read.headers()["cross-origin-resource-policy"], "cross-origin");
    // A question lets nobody in, and a stranger is not even told what may be asked.
    let keyless = anonymous("POST", "/api/v1/sessions").header("origin", "https://ui.example");
    assert_eq!(gate.send(keyless.body(Body::empty()).unwrap()).await.status(), 401);
    let stranger = ask("https://evil.example").await;
    assert_eq!(stranger.status(), 403);
    assert!(!stranger.headers().contains_key("access-control-allow-origin"));
    assert!(!stranger.headers().contains_key("access-control-allow-methods"));
}

#[tokio::test]
async fn a_credential_in_a_url_is_refused_everywhere() {
    let gate = Gate::new();
    let admin = gate.admin.clone();
    for path in ["/healthz", "/api/v1/sessions", "/metrics", "/no/such"] {
        for query in [format!("token={admin}"), format!("q={admin}"), "api_key=x".into(), "%6bey=x".into()] {
            let (status, body) = gate.get(&format!("{path}?{query}")).await;
            assert_eq!(status, 400, "{path}?{query}");
            assert!(!body.to_string().contains(&admin), "the answer repeats the key");
        }
    }
    assert_eq!(gate.get(&format!("/api/v1/sessions/{admin}")).await.0, 400);
}

#[tokio::test]
async fn every_reply_carries_the_headers_browsers_need() {
    let gate = Gate::new();
    let replies = [
        gate.send(gate.request("GET", "/api/v1/sessions").body(Body::empty()).unwrap()).await,
        gate.send(anonymous("GET", "/api/v1/sessions").body(Body::empty()).unwrap()).await,
        gate.send(anonymous("GET", "/healthz").body(Body::empty()).unwrap()).await,
    ];
    for reply in replies {
        let header = |name: &str| reply.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"));
        assert_eq!(header("cross-origin-opener-policy").as_deref(), Some("same-origin"));
        assert_eq!(header("cross-origin-resource-policy").as_deref(), Some("same-origin"));
        assert!(header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(header("server"), None);
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let gate = Gate::new();
    let session = gate.session().await;
    let types = [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonp"),
        Some("text/json"),
        Some("application/json, text/plain"),
        Some(""),
    ];
    let paths =
        ["/api/v1/sessions", &format!("{session}/inputs"), &format!("{session}/cancel"), "/api/v1/keys"];
    for path in paths {
        for kind in types {
            let mut request = gate.request("POST", path);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let (status, body) =
                read(gate.send(request.body(Body::from(r#"{"text":"x"}"#)).unwrap()).await).await;
            assert_eq!(status, 415, "{path} {kind:?} {body}");
        }
    }
    let request =
        gate.request("POST", "/api/v1/sessions").header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(gate.send(request.body(Body::from("{}")).unwrap()).await.status(), 201);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_write_nothing() {
    let gate = Gate::new();
    let session = gate.session().await;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"{\"text\":\"a\"} {}".to_vec(),
        b"{\"text\":\"a\",\"text\":\"b\"}".to_vec(),
        b"{\"text\":\"a\",\"\\u0074ext\":\"b\"}".to_vec(),
        b"{\"text\":\"a\",\"metadata\":{\"k\":\"1\",\"k\":\"2\"}}".to_vec(),
        b"{\"text\":NaN}".to_vec(),
        b"{\"text\":\"a\",\"temperature\":1e400}".to_vec(),
        b"{\"text\":\"a\",\"temperature\":-Infinity}".to_vec(),
        b"{\"text\":\"\\ud800\"}".to_vec(),
        b"{\"text\":\"\\udc00\\ud800\"}".to_vec(),
        b"{\"text\":\"\xff\xfe\"}".to_vec(),
        b"{\"text\":\"\xc0\xaf\"}".to_vec(),
        b"{\"text\":\"a\x00b\"}".to_vec(),
        b"\xef\xbb\xbf{\"text\":\"a\"}".to_vec(),
        b"{'text':'a'}".to_vec(),
        b"{\"text\":\"a\",}".to_vec(),
        b"{\"text\":\"a\"/**/}".to_vec(),
        b"{\"__proto__\":{},\"text\":\"a\"}".to_vec(),
        format!("{{\"text\":\"a\",\"metadata\":{}}}", deep(100_000)).into_bytes(),
        deep(65).into_bytes(),
    ];
    for bytes in bodies {
        let request =
            gate.request("POST", &format!("{session}/inputs")).header("content-type", "application/json");
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let (status, body) = read(gate.send(request.body(Body::from(bytes)).unwrap()).await).await;
        assert_eq!((status.as_u16(), is_refusal(&body)), (400, true), "{shown} {body}");
    }
    // A list is not read as an object's fields in their order.
    let request = gate.request("POST", &format!("{session}/fork")).header("content-type", "application/json");
    let (status, body) = read(gate.send(request.body(Body::from("[null,null]")).unwrap()).await).await;
    assert_eq!((status.as_u16(), is_refusal(&body)), (400, true), "{body}");
    assert_eq!(gate.get(&session).await.1["head"]["seq"], 1);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_before_it_is_read() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    let gate = Gate::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    // 10 GiB, were it read.
    let endless = futures_util::stream::iter((0..10 * 1024).map(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(vec![b' '; 1 << 20])
    }));
    let request = gate.request("POST", "/api/v1/sessions").header("content-type", "application/json");
    let (status, body) = read(gate.send(request.body(Body::from_stream(endless)).unwrap()).await).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (413, &json!("too_large")));
    assert!(taken.load(Ordering::Relaxed) <= 3, "{taken:?} MiB were read");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_no_upload() {
    use futures_util::StreamExt as _;
    let gate = Gate::new();
    // A byte a second: never silent, never done.
    let drops = futures_util::stream::repeat(()).then(async |()| {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Ok::<_, std::convert::Infallible>(" ")
    });
    let request = gate.request("POST", "/api/v1/sessions").header("content-type", "application/json");
    let began = tokio::time::Instant::now();
    let router = gate.router.clone();
    let body = Body::from_stream(Box::pin(drops));
    let response = tower::ServiceExt::oneshot(router, request.body(body).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), began.elapsed().as_secs()), (400, 30));
}

#[tokio::test]
async fn large_heads_are_refused() {
    let gate = Gate::new();
    let request = gate.request("GET", "/api/v1/whoami").header("x-padding", "x".repeat(20_000));
    let (status, body) = read(gate.send(request.body(Body::empty()).unwrap()).await).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (431, &json!("headers_too_large")));
    let (status, _) = gate.get(&format!("/api/v1/sessions?q={}", "x".repeat(9_000))).await;
    assert_eq!(status, 431);
}

#[tokio::test]
async fn hostile_ids_are_refused() {
    let gate = Gate::new();
    let long = "a".repeat(5_000);
    let ids = [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "ses_",
        "ses_%00",
        "ses_00000000000000000000000000%0d%0ax:y",
        "SES_00000000000000000000000000",
        "ses_0000000000000000000000000",
        "ses_0000000000000000000000000w",
        "ses_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "%252e%252e",
        "%E2%80%AEses_",
        "%F0%9F%98%80",
        "'%20or%201=1--",
        "%ff%fe",
        "ses_00000000000000000000000000%00",
        &long,
    ];
    for id in ids {
        for path in [format!("/api/v1/sessions/{id}"), format!("/api/v1/sessions/{id}/events")] {
            let (status, body) = gate.get(&path).await;
            assert_eq!((status.as_u16(), is_refusal(&body)), (400, true), "{path} {body}");
        }
    }
}
