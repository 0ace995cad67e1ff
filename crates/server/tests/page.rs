//! The web page: what is served, how a browser signs in, and what its cookie may and may not do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use axum::body::Body;
use common::{Gate, anonymous, read};
use http::{Response, header};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3_600);
const ORIGIN: &str = "https://gate.example";
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
                      style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

fn gate() -> Gate {
    Gate::with(|config| config.origins = vec![ORIGIN.into()])
}

async fn fetch(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = anonymous("GET", path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gate.send(request.body(Body::empty()).unwrap()).await
}

/// The page signs in; the answer's cookie, as a browser would send it.
async fn sign_in(gate: &Gate, with: Value) -> Result<String, u16> {
    let request =
        anonymous("POST", "/signin").header("origin", ORIGIN).header("content-type", "application/json");
    let response = gate.send(request.body(with.to_string().into()).unwrap()).await;
    if response.status() != 204 {
        return Err(response.status().as_u16());
    }
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    Ok(cookie.split(';').next().unwrap().to_owned())
}

/// What a request of the page with this cookie is answered.
async fn asked(gate: &Gate, method: &str, path: &str, cookie: &str, more: &[(&str, &str)]) -> (u16, Value) {
    let mut request =
        anonymous(method, path).header("cookie", cookie).header("content-type", "application/json");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let (status, body) = read(gate.send(request.body("{}".into()).unwrap()).await).await;
    (status.as_u16(), body)
}

async fn who(gate: &Gate, cookie: &str) -> u16 {
    asked(gate, "GET", "/api/v1/whoami", cookie, &[]).await.0
}

#[tokio::test]
async fn the_page_has_its_policy_and_its_parts_are_kept_for_ever() {
    let gate = gate();
    let page = fetch(&gate, "/", &[("accept-encoding", "identity")]).await;
    assert_eq!(page.status(), 200);
    let headers = page.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["content-security-policy"], POLICY);
    assert_eq!(headers["cache-control"], "no-cache");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    let apart = ["cross-origin-opener-policy", "cross-origin-resource-policy"];
    assert!(apart.iter().all(|name| headers[*name] == "same-origin"));
    let html = read(page).await.1.as_str().unwrap().to_owned();
    // Nothing in the document itself runs or looks.
    assert!(!html.contains("<style") && !html.contains(" on") && !html.contains(" style="), "{html}");
    assert_eq!(html.matches("<script").count(), html.matches("src=\"/assets/").count());

    let etag = headers["etag"].to_str().unwrap();
    let again = fetch(&gate, "/", &[("if-none-match", etag)]).await;
    assert_eq!(
        (again.status().as_u16(), &again.headers()["content-security-policy"]),
        (304, &POLICY.parse().unwrap())
    );
    assert!(read(again).await.1.is_null());
    for view in
        ["/waiting", "/live", "/usage", "/setup", "/setup/keys", "/s/ses_x", "/s/ses_x/log", "/signin/code"]
    {
        assert_eq!(fetch(&gate, view, &[]).await.headers()["etag"], etag, "{view}");
    }

    let script = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let plain = fetch(&gate, script, &[]).await;
    assert_eq!(plain.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert!(!plain.headers().contains_key("content-encoding"));
    let packed = fetch(&gate, script, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "Accept-Encoding");
    assert_eq!(fetch(&gate, "/assets/other.js", &[]).await.status(), 404);
    assert_eq!(fetch(&gate, "/assets/..%2findex.html", &[]).await.status(), 404);
    for nothing in ["/index.html", "/no/such", "/api/v1/nothing", "/s/a/b/c"] {
        let accept = [("accept", "text/html")];
        assert_eq!(fetch(&gate, nothing, &accept).await.status(), 401, "{nothing}");
    }
}

#[tokio::test]
async fn a_browser_signs_in_and_out_with_a_cookie_no_script_reads() {
    let gate = gate();
    let request = anonymous("POST", "/signin").header("content-type", "application/json");
    let request = request.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
    let body = json!({ "key": gate.admin }).to_string();
    let response = gate.send(request.body(body.into()).unwrap()).await;
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert!(cookie.starts_with("__Host-moongate=mg_web_"), "{cookie}");
    assert_eq!(attributes, "Path=/; Max-Age=604800; Secure; HttpOnly; SameSite=Strict");

    let (status, me) = asked(&gate, "GET", "/api/v1/whoami", cookie, &[]).await;
    assert_eq!((status, &me["principal"], &me["scopes"]), (200, &json!("admin"), &json!(["admin"])));
    // It is in the list of keys, by a name a person knows and without its secret.
    let (_, keys) = gate.get("/api/v1/keys").await;
    assert_eq!(
        (&keys["items"][0]["id"], &keys["items"][0]["label"]),
        (&me["key"], &json!("Firefox on Linux"))
    );
    assert!(!keys.to_string().contains("mg_web_"));
    // A second sign-in is another one.
    let second = sign_in(&gate, json!({ "key": gate.admin })).await.unwrap();
    assert_ne!(second, cookie);

    let own = [("origin", ORIGIN)];
    let request = anonymous("DELETE", "/api/v1/session").header("cookie", cookie).header("origin", ORIGIN);
    let out = gate.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(out.status(), 204);
    assert_eq!(out.headers()["clear-site-data"], "\"cache\", \"cookies\", \"storage\"");
    assert!(
        out.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .starts_with("__Host-moongate=; Path=/; Max-Age=0;")
    );
    assert_eq!(who(&gate, cookie).await, 401);
    assert_eq!(who(&gate, &second).await, 200);
    assert_eq!(asked(&gate, "DELETE", "/api/v1/session", cookie, &own).await.0, 401);
    let (_, audit) = gate.get("/api/v1/audit").await;
    let done: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(done, ["browser.signed_out", "browser.signed_in", "browser.signed_in"]);
}

#[tokio::test]
async fn what_another_page_sends_with_the_cookie_does_nothing() {
    let gate = gate();
    let cookie = sign_in(&gate, json!({ "key": gate.admin })).await.unwrap();
    let make = |headers: Vec<(&'static str, &'static str)>| {
        let (gate, cookie) = (gate.clone(), cookie.clone());
        async move { asked(&gate, "POST", "/api/v1/sessions", &cookie, &headers).await.0 }
    };
    assert_eq!(make(vec![("origin", ORIGIN)]).await, 201);
    assert_eq!(make(vec![("origin", ORIGIN), ("sec-fetch-site", "same-origin")]).await, 201);
    assert_eq!(make(vec![]).await, 403);
    assert_eq!(make(vec![("origin", "null")]).await, 403);
    assert_eq!(make(vec![("origin", "https://evil.example")]).await, 403);
    for site in ["cross-site", "same-site"] {
        assert_eq!(make(vec![("origin", ORIGIN), ("sec-fetch-site", site)]).await, 401, "{site}");
        let read = asked(&gate, "GET", "/api/v1/whoami", &cookie, &[("sec-fetch-site", site)]).await;
        assert_eq!(read.0, 401, "{site}");
    }
    let socket = [("upgrade", "websocket"), ("connection", "upgrade")];
    assert_eq!(asked(&gate, "GET", "/api/v1/ws", &cookie, &socket).await.0, 403);
    let (_, list) = gate.get("/api/v1/sessions").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_cookie_holds_no_key_and_a_header_no_cookie() {
    let gate = gate();
    let cookie = sign_in(&gate, json!({ "key": gate.admin })).await.unwrap();
    let secret = cookie.split_once('=').unwrap().1;
    assert_eq!(who(&gate, &cookie).await, 200);
    // Also right after it was seen in its own place.
    assert_eq!(gate.as_key(secret).get("/api/v1/whoami").await.0, 401);
    assert_eq!(gate.as_key(secret).get("/openai/v1/models").await.0, 401);
    assert_eq!(sign_in(&gate, json!({ "key": secret })).await, Err(401));
    assert_eq!(who(&gate, &format!("__Host-moongate={}", gate.admin)).await, 401);
    let (_, key) = gate.key(json!({ "scopes": ["sessions:read"] })).await;
    assert_eq!(gate.as_key(&key).get("/api/v1/whoami").await.0, 200);
    assert_eq!(who(&gate, &format!("__Host-moongate={key}")).await, 401);
    // No other door reads it.
    assert_eq!(asked(&gate, "GET", "/openai/v1/models", &cookie, &[]).await.0, 401);
    assert_eq!(fetch(&gate, &format!("/signin/{secret}"), &[]).await.status(), 400);
    for nothing in [json!({}), json!({ "key": "a", "code": "b" })] {
        assert_eq!(sign_in(&gate, nothing).await, Err(400));
    }
}

#[tokio::test]
async fn a_browser_ends_with_the_key_it_was_signed_in_with() {
    let gate = gate();
    let (id, key) = gate.key(json!({ "scopes": ["sessions:read", "keys:manage"] })).await;
    let cookie = sign_in(&gate, json!({ "key": key })).await.unwrap();
    let (_, me) = asked(&gate, "GET", "/api/v1/whoami", &cookie, &[]).await;
    assert_eq!(me["scopes"], json!(["sessions:read", "keys:manage"]));
    // A link made there signs in with the same key, and ends with it too.
    let own = [("origin", ORIGIN)];
    let (_, link) = asked(&gate, "POST", "/api/v1/signin-links", &cookie, &own).await;
    let (_, unused) = asked(&gate, "POST", "/api/v1/signin-links", &cookie, &own).await;
    let code = |link: &Value| link["path"].as_str().unwrap().trim_start_matches("/signin/").to_owned();
    let other = sign_in(&gate, json!({ "code": code(&link) })).await.unwrap();
    assert_eq!((who(&gate, &cookie).await, who(&gate, &other).await), (200, 200));
    let request = anonymous("GET", "/api/v1/events").header("cookie", &*other);
    let mut stream = common::Stream::new(gate.send(request.body(Body::empty()).unwrap()).await);
    let (status, _) = gate.delete(&format!("/api/v1/keys/{id}")).await;
    assert_eq!(status, 204);
    assert_eq!((who(&gate, &cookie).await, who(&gate, &other).await), (401, 401));
    assert_eq!(stream.next().await, None);
    assert_eq!(sign_in(&gate, json!({ "code": code(&unused) })).await, Err(401));
    assert_eq!(sign_in(&gate, json!({ "key": key })).await, Err(401));
}

#[tokio::test]
async fn a_browser_ends_when_it_stays_away_and_when_its_time_is_over() {
    let gate = gate();
    let idle = sign_in(&gate, json!({ "key": gate.admin })).await.unwrap();
    let busy = sign_in(&gate, json!({ "key": gate.admin })).await.unwrap();
    assert_eq!((who(&gate, &idle).await, who(&gate, &busy).await), (200, 200));
    gate.clock.advance(23 * HOUR);
    assert_eq!(who(&gate, &busy).await, 200);
    gate.clock.advance(2 * HOUR);
    assert_eq!((who(&gate, &idle).await, who(&gate, &busy).await), (401, 200));
    // For good: also once nobody remembers when it was used.
    assert_eq!(who(&gate, &idle).await, 401);
    // What it makes lasts as long as what was signed in with makes: longer than the browser itself.
    let body = json!({ "scopes": ["sessions:read"] }).to_string();
    let request = anonymous("POST", "/api/v1/keys").header("cookie", &*busy).header("origin", ORIGIN);
    let request = request.header("content-type", "application/json");
    let (status, made) = read(gate.send(request.body(body.into()).unwrap()).await).await;
    assert_eq!(status, 201, "{made}");
    for _ in 0..6 {
        assert_eq!(who(&gate, &busy).await, 200);
        gate.clock.advance(24 * HOUR - Duration::from_secs(60));
    }
    assert_eq!(who(&gate, &busy).await, 401);
    let (status, _) = gate.as_key(made["secret"].as_str().unwrap()).get("/api/v1/whoami").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_link_signs_in_once_and_not_for_long() {
    let gate = gate();
    let link = || async {
        let (status, link) = gate.post("/api/v1/signin-links", json!({})).await;
        assert_eq!(status, 201, "{link}");
        link["path"].as_str().unwrap().trim_start_matches("/signin/").to_owned()
    };
    let code = link().await;
    // To look at it uses nothing up: programs look at links too.
    assert_eq!(fetch(&gate, &format!("/signin/{code}"), &[]).await.status(), 200);
    let cookie = sign_in(&gate, json!({ "code": code })).await.unwrap();
    assert_eq!(who(&gate, &cookie).await, 200);
    assert_eq!(sign_in(&gate, json!({ "code": code })).await, Err(401));
    let late = link().await;
    gate.clock.advance(Duration::from_secs(601));
    assert_eq!(sign_in(&gate, json!({ "code": late })).await, Err(401));
    for _ in 0..32 {
        link().await;
    }
    assert_eq!(gate.post("/api/v1/signin-links", json!({})).await.0, 429);
    // Guessing runs out, and who has a code still gets in.
    gate.clock.advance(Duration::from_secs(601));
    let code = link().await;
    let mut refused = 0;
    for guess in 0..40 {
        let answer = sign_in(&gate, json!({ "code": format!("guess{guess}") })).await;
        refused += usize::from(answer == Err(429));
    }
    assert!(refused > 0, "guesses go on for ever");
    assert!(sign_in(&gate, json!({ "code": code })).await.is_ok());
}
