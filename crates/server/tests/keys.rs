//! Keys: what each may do, how long, from where, and what happens when it ends.

mod common;

use std::time::Duration;

use axum::body::Body;
use common::{Gate, anonymous, read};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_hash() {
    let gate = Gate::new();
    let (id, secret) = gate.key(json!({ "label": "phone", "scopes": ["sessions:read"] })).await;
    assert!(secret.starts_with("mg_api_") && secret.contains(&id["key_".len()..]));
    let (_, listed) = gate.get("/api/v1/keys").await;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["label"]), (&json!(id), &json!("phone")));
    assert!(!listed.to_string().contains(&secret));
    let (_, who) = gate.as_key(&secret).get("/api/v1/whoami").await;
    assert_eq!(
        (&who["principal"], &who["key"], &who["scopes"]),
        (&json!("admin"), &json!(id), &json!(["sessions:read"]))
    );
    let (_, audit) = gate.get("/api/v1/audit").await;
    assert_eq!(
        (&audit["items"][0]["action"], &audit["items"][0]["object"]),
        (&json!("key.created"), &json!(id))
    );
    assert!(!audit.to_string().contains(&secret));
}

#[tokio::test]
async fn each_scope_opens_its_routes_and_no_others() {
    let gate = Gate::new();
    let session = gate.session().await;
    let id = session.rsplit('/').next().unwrap();
    let table: [(&str, &str, Value, &[&str]); 12] = [
        ("GET", "/api/v1/sessions", Value::Null, &["sessions:read"]),
        ("GET", "/api/v1/agents", Value::Null, &["sessions:read"]),
        ("GET", "/api/v1/models", Value::Null, &["sessions:read"]),
        ("GET", "/api/v1/tools", Value::Null, &["sessions:read"]),
        ("GET", "/api/v1/approvals", Value::Null, &["sessions:read"]),
        ("POST", "/api/v1/sessions", json!({}), &["sessions:write"]),
        ("GET", "/api/v1/usage", Value::Null, &["usage:read"]),
        ("GET", "/api/v1/audit", Value::Null, &["audit:read"]),
        ("GET", "/api/v1/keys", Value::Null, &["keys:manage"]),
        ("GET", "/api/v1/config", Value::Null, &["config:write"]),
        ("GET", "/metrics", Value::Null, &["metrics:read"]),
        ("GET", "/api/v1/whoami", Value::Null, &[]),
    ];
    let scopes = [
        "admin",
        "sessions:read",
        "sessions:write",
        "approvals:decide",
        "policy:write",
        "keys:manage",
        "config:write",
        "usage:read",
        "metrics:read",
        "audit:read",
    ];
    for scope in scopes {
        let (_, key) = gate.key(json!({ "scopes": [scope] })).await;
        let narrow = gate.as_key(&key);
        for (method, path, body, wanted) in &table {
            let (status, answer) = narrow.json(method, path, body.clone()).await;
            let allowed = wanted.is_empty() || wanted.contains(&scope) || scope == "admin";
            assert_eq!(status != 403, allowed, "{scope}: {method} {path} {status} {answer}");
        }
        // Somebody else's session, or one that may only be read.
        let (status, _) = narrow.json("PATCH", &session, json!({ "title": "x" })).await;
        assert_eq!(status == 200, scope == "admin", "{scope} {id}");
    }
}

#[tokio::test]
async fn what_is_anothers_is_as_if_it_were_not_there() {
    let gate = Gate::new();
    let rights = json!(["sessions:read", "sessions:write", "approvals:decide"]);
    let (_, alice) = gate.key(json!({ "scopes": rights, "principal": "alice" })).await;
    let (_, bob) = gate.key(json!({ "scopes": rights, "principal": "bob" })).await;
    let (alice, bob) = (gate.as_key(&alice), gate.as_key(&bob));
    let hers = alice.session().await;
    alice.turn(&hers, "my secret").await;
    let missing = "/api/v1/sessions/ses_00000000000000000000000000";
    let routes: [(&str, &str, Value); 10] = [
        ("GET", "", Value::Null),
        ("PATCH", "", json!({ "title": "x" })),
        ("DELETE", "", Value::Null),
        ("POST", "/fork", json!({})),
        ("GET", "/messages", Value::Null),
        ("GET", "/events", Value::Null),
        ("GET", "/export", Value::Null),
        ("POST", "/inputs", json!({ "text": "x" })),
        ("POST", "/cancel", json!({})),
        ("GET", "/blobs/0000000000000000000000000000000000000000000000000000000000000000", Value::Null),
    ];
    for (method, route, body) in routes {
        let foreign = bob.json(method, &format!("{hers}{route}"), body.clone()).await;
        let none = bob.json(method, &format!("{missing}{route}"), body).await;
        assert_eq!(foreign, none, "{method} {route}");
        assert_eq!(foreign.0, 404);
    }
    assert_eq!(bob.get("/api/v1/sessions").await.1["items"], json!([]));
    assert_eq!(bob.get("/api/v1/sessions?q=secret").await.1["items"], json!([]));
    assert_eq!(gate.get("/api/v1/sessions?q=secret").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_narrowed_key_sees_its_agents_and_namespaces_only() {
    let gate = Gate::new();
    let made = |agent: &str, namespace: &str| {
        let body = json!({ "agent": agent, "namespace": namespace });
        let gate = gate.clone();
        async move { gate.post("/api/v1/sessions", body).await.1["id"].as_str().unwrap().to_owned() }
    };
    let inside = made("main", "user:bob:notes").await;
    let outside =
        [made("other", "user:bob:notes").await, made("main", "user:bobby").await, made("main", "user").await];
    // The administrator's own rights, narrowed: only the narrowing decides.
    let narrow = json!({ "scopes": ["admin"], "agents": ["main"], "namespaces": ["user:bob"] });
    let narrow = gate.as_key(&gate.key(narrow).await.1);
    assert_eq!(narrow.get(&format!("/api/v1/sessions/{inside}")).await.0, 200);
    for id in &outside {
        assert_eq!(narrow.get(&format!("/api/v1/sessions/{id}")).await.0, 404, "{id}");
        assert_eq!(narrow.get(&format!("/api/v1/sessions/{id}/events")).await.0, 404, "{id}");
    }
    let (_, listed) = narrow.get("/api/v1/sessions").await;
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, [&json!(inside)]);
    for refused in [json!({ "agent": "other" }), json!({ "namespace": "user:bobby" })] {
        let (status, body) = narrow.post("/api/v1/sessions", refused.clone()).await;
        assert_eq!(status, 403, "{refused} {body}");
    }
    let (status, _) =
        narrow.json("PATCH", &format!("/api/v1/sessions/{inside}"), json!({ "agent": "other" })).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_key_never_gives_more_than_its_maker_has() {
    let gate = Gate::new();
    let maker = json!({
        "scopes": ["keys:manage", "sessions:read"], "agents": ["main"], "namespaces": ["user:bob"],
        "networks": ["127.0.0.0/8"], "principal": "bob",
    });
    let (_, key) = gate.key(maker).await;
    let maker = gate.as_key(&key);
    let like = |changes: Value| {
        let mut key = json!({
            "scopes": ["sessions:read"], "agents": ["main"], "namespaces": ["user:bob:sub"], "networks": ["127.0.0.1"],
        });
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    assert_eq!(maker.post("/api/v1/keys", like(json!({}))).await.0, 201);
    let wider = [
        json!({ "scopes": ["admin"] }),
        json!({ "scopes": ["sessions:read", "sessions:write"] }),
        json!({ "agents": [] }),
        json!({ "agents": ["main", "other"] }),
        json!({ "namespaces": [] }),
        json!({ "namespaces": ["user"] }),
        json!({ "networks": [] }),
        json!({ "networks": ["0.0.0.0/0"] }),
        json!({ "principal": "alice" }),
    ];
    for changes in wider {
        let (status, body) = maker.post("/api/v1/keys", like(changes.clone())).await;
        assert_eq!(status, 403, "{changes} {body}");
    }
    let wrong = [
        json!({ "scopes": [] }),
        json!({ "scopes": ["everything"] }),
        json!({ "networks": ["not a network"] }),
        json!({ "label": "x".repeat(200) }),
        json!({ "label": "a\nb" }),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "expires_at": "2200-01-01T00:00:00Z" }),
        json!({ "tenant": "other" }),
        json!({ "secret": "mine" }),
    ];
    for changes in wrong {
        let (status, body) = maker.post("/api/v1/keys", like(changes.clone())).await;
        assert_eq!(status, 400, "{changes} {body}");
    }
    let (_, listed) = gate.get("/api/v1/keys").await;
    let admins_own = listed["items"].as_array().unwrap().iter().find(|key| key["principal"] == "admin");
    assert!(admins_own.is_none());
    let (strong, _) = gate.key(json!({ "scopes": ["admin"] })).await;
    assert_eq!(maker.delete(&format!("/api/v1/keys/{strong}")).await.0, 403);
}

#[tokio::test]
async fn a_grant_is_given_by_who_has_it_and_nobody_is_the_gateway() {
    let gate = Gate::new();
    let maker = |fields: serde_json::Value| {
        let mut fields = fields;
        fields["scopes"] = json!(["keys:manage", "sessions:read"]);
        fields
    };
    let asked = |name: &str| json!({ "scopes": ["sessions:read"], "namespaces": [name] });
    let (_, free) = gate.key(maker(json!({}))).await;
    let free = gate.as_key(&free);
    assert_eq!(
        free.post("/api/v1/keys", asked("tenant:acme")).await.0,
        403,
        "a key without grants gives none"
    );
    assert_eq!(free.post("/api/v1/keys", asked("*")).await.0, 403);
    let (_, granted) = gate.key(maker(json!({ "namespaces": ["tenant:acme"] }))).await;
    let granted = gate.as_key(&granted);
    assert_eq!(granted.post("/api/v1/keys", asked("tenant:acme:user:bob")).await.0, 201);
    assert_eq!(granted.post("/api/v1/keys", asked("tenant:acme2")).await.0, 403);
    let shared = json!({ "scopes": ["sessions:read"], "principal": "gateway:shared" });
    assert_eq!(gate.post("/api/v1/keys", shared).await.0, 403, "it owns what belongs to namespaces");
}

#[tokio::test]
async fn a_key_ends_after_ninety_days_and_takes_its_streams_along() {
    let gate = Gate::with(|config| config.limits.heartbeat = Duration::from_millis(20));
    let (_, key) = gate.key(json!({ "scopes": ["sessions:read", "sessions:write"] })).await;
    let holder = gate.as_key(&key);
    let session = holder.session().await;
    let mut stream = holder.stream(&format!("{session}/events")).await;
    stream.next().await.unwrap();
    gate.clock.advance(90 * DAY - Duration::from_secs(1));
    assert_eq!(holder.get(&session).await.0, 200);
    gate.clock.advance(Duration::from_secs(1));
    // The stream finds out by itself, without a request that would tell it.
    assert_eq!(stream.next().await, None);
    assert_eq!(holder.get(&session).await.0, 401);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_its_streams_end() {
    let gate = Gate::new();
    let (id, key) = gate.key(json!({ "scopes": ["sessions:read", "sessions:write"] })).await;
    let holder = gate.as_key(&key);
    let session = holder.session().await;
    let mut one = holder.stream(&format!("{session}/events")).await;
    let mut all = holder.stream("/api/v1/events").await;
    one.next().await.unwrap();
    assert_eq!(gate.delete(&format!("/api/v1/keys/{id}")).await.0, 204);
    assert_eq!(one.next().await, None);
    assert_eq!(all.next().await, None);
    assert_eq!(holder.get(&session).await.0, 401);
    assert_eq!(gate.delete(&format!("/api/v1/keys/{id}")).await.0, 204, "ending it twice is no error");
    assert_eq!(gate.delete("/api/v1/keys/key_00000000000000000000000000").await.0, 404);
}

#[tokio::test]
async fn a_key_works_from_its_networks_only() {
    let gate = Gate::new();
    let (_, here) =
        gate.key(json!({ "scopes": ["sessions:read"], "networks": ["127.0.0.0/8", "10.0.0.0/8"] })).await;
    let (_, elsewhere) =
        gate.key(json!({ "scopes": ["sessions:read"], "networks": ["203.0.113.0/24"] })).await;
    assert_eq!(gate.as_key(&here).get("/api/v1/sessions").await.0, 200);
    assert_eq!(gate.as_key(&elsewhere).get("/api/v1/sessions").await.0, 403);
    let forged =
        gate.as_key(&elsewhere).request("GET", "/api/v1/sessions").header("x-forwarded-for", "203.0.113.5");
    assert_eq!(gate.send(forged.body(Body::empty()).unwrap()).await.status(), 403);
}

#[tokio::test]
async fn guesses_run_out_and_known_keys_still_work() {
    let gate = Gate::new();
    let guess = |text: String| {
        let request = anonymous("GET", "/api/v1/whoami").header("authorization", text);
        gate.send(request.body(Body::empty()).unwrap())
    };
    let mut wrong = gate.admin.clone();
    wrong.replace_range(50..51, if &wrong[50..51] == "A" { "B" } else { "A" });
    let forms = [
        "Bearer x".to_owned(),
        "Basic YTpi".into(),
        "Bearer".into(),
        format!("Bearer {wrong}"),
        "Bearer mg_api_".into(),
        format!("Token {}", gate.admin),
    ];
    for n in 0..moongate_server::limits::FAILURES_PER_ADDRESS as usize {
        let response = guess(forms[n % forms.len()].clone()).await;
        assert_eq!(response.status(), 401, "guess {n}");
    }
    let response = guess("Bearer x".into()).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(read(response).await.1["error"]["code"], "rate_limited");
    assert_eq!(gate.get("/api/v1/whoami").await.0, 200, "the administrator is not locked out");
    let (_, audit) = gate.get("/api/v1/audit").await;
    assert_eq!(audit["items"][0]["action"], "auth.denied");
}

#[tokio::test]
async fn two_credentials_are_none() {
    let gate = Gate::new();
    let request = gate.request("GET", "/api/v1/whoami").header("authorization", "Bearer x");
    assert_eq!(gate.send(request.body(Body::empty()).unwrap()).await.status(), 400);
}
