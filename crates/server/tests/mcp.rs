//! The MCP door: agents as tools, in both eras of the protocol.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use axum::{Router, body::Body};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use moongate_core::ListQuery;
use moongate_protocol::{Effect, Event, PolicyPreset};
use moongate_server::{App, AppConfig, router};
use moongate_testkit::{AGENT, Gate, Script, ScriptedTool, Setup, TestGateway};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const MODERN: &str = "2026-07-28";

/// A gateway behind the door.
struct Site {
    kit: TestGateway,
    router: Router,
    key: String,
}

/// A client: its key, and what a handshake called it.
#[derive(Clone)]
struct Client {
    router: Router,
    key: String,
    name: Option<String>,
}

impl Site {
    async fn new(setup: Setup) -> Self {
        Self::with(setup, |_| {}).await
    }

    async fn with(setup: Setup, change: impl FnOnce(&mut AppConfig)) -> Self {
        let kit = setup.start().await;
        let (key, mut config) = AppConfig::generate(kit.gateway().ids());
        change(&mut config);
        let router = router(App::new(kit.gateway().clone(), config));
        Self { kit, router, key: key.expose_secret().to_owned() }
    }

    fn client(&self) -> Client {
        Client { router: self.router.clone(), key: self.key.clone(), name: None }
    }

    /// A client with a key of its own.
    async fn narrowed(&self, fields: Value) -> Client {
        let mut body = json!({"label": "x", "scopes": ["sessions:read", "sessions:write"]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = Request::post("/api/v1/keys").header("host", "localhost");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        let request =
            request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        let (status, made) = read(self.router.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(status, 201, "{made}");
        Client { key: made["secret"].as_str().unwrap().to_owned(), ..self.client() }
    }
}

impl Client {
    /// Sends a message as it is, with these headers.
    async fn send(&self, body: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::post("/mcp").header("host", "localhost");
        request = request.header("authorization", format!("Bearer {}", self.key));
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(name) = &self.name {
            request = request.header("mcp-session-id", name);
        }
        self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    /// Asks as clients of the era with a handshake do.
    async fn ask(&self, id: i64, method: &str, params: Value) -> (StatusCode, Value) {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        read(self.send(&body.to_string(), &[("accept", "application/json")]).await).await
    }

    /// Asks as clients of the newest revision do.
    async fn modern(&self, method: &str, params: Value) -> (StatusCode, Value) {
        read(self.modern_raw(method, params, "application/json").await).await
    }

    async fn modern_raw(&self, method: &str, mut params: Value, accept: &str) -> Response<Body> {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = params["name"].as_str().unwrap_or("-").to_owned();
        let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}).to_string();
        let headers = [
            ("mcp-protocol-version", MODERN),
            ("mcp-method", method),
            ("mcp-name", &name),
            ("accept", accept),
        ];
        self.send(&body, &headers).await
    }

    /// Begins a call whose answer is a stream.
    async fn begin(&self, id: i64, message: &str) -> Body {
        let params =
            json!({"name": "ask_main", "arguments": {"message": message}, "_meta": {"progressToken": 7}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let both = [("accept", "application/json, text/event-stream")];
        let response = self.send(&body.to_string(), &both).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body()
    }

    async fn cancel(&self, id: i64) {
        let body =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
                .to_string();
        assert_eq!(self.send(&body, &[]).await.status(), 202);
    }
}

async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// The messages of a stream that ends.
async fn messages(body: Body) -> Vec<Value> {
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn ask(message: &str) -> Value {
    json!({"name": "ask_main", "arguments": {"message": message}})
}

/// A gateway whose agent waits in a tool, and the gate it waits at.
async fn waiting() -> (Site, Gate) {
    let gate = Gate::new();
    let tool = ScriptedTool::new("wait", Effect::Read).waits_at(&gate);
    let site = Site::new(Setup { policy: PolicyPreset::Full, ..Setup::default() }.tool(tool)).await;
    site.kit.model().push([Script::calls(&[("wait", json!({}))]), Script::says("done")]);
    (site, gate)
}

/// How the only session's turn ended.
async fn ending(site: &Site) -> Event {
    let query = ListQuery { limit: 1, ..ListQuery::default() };
    let page = site.kit.gateway().list(&moongate_testkit::admin(), query).await.unwrap();
    let mut client = site.kit.client(page.items[0].id).await;
    client.until_turn_ends().await.event
}

#[tokio::test]
async fn after_a_handshake_an_agent_is_a_tool_that_answers_with_its_words() {
    let site = Site::new(Setup::default()).await;
    let client = site.client();
    for (wanted, agreed) in
        [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")]
    {
        let (status, hello) = client.ask(1, "initialize", json!({"protocolVersion": wanted})).await;
        assert_eq!((status.as_u16(), &hello["result"]["protocolVersion"]), (200, &json!(agreed)));
        assert_eq!(hello["result"]["capabilities"], json!({"tools": {}}));
    }
    assert_eq!(client.ask(2, "ping", json!({})).await.1, json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    let (_, list) = client.ask(3, "tools/list", json!({})).await;
    let tool = &list["result"]["tools"][0];
    assert_eq!(
        (tool["name"].as_str(), tool["annotations"]["destructiveHint"].as_bool()),
        (Some("ask_main"), Some(true))
    );
    assert_eq!(tool["inputSchema"]["required"], json!(["message"]));
    site.kit.model().push([Script::says("Hello."), Script::says("Again.")]);
    let (_, answer) = client.ask(4, "tools/call", ask("hi")).await;
    let result = &answer["result"];
    assert_eq!((&result["content"][0]["text"], &result["isError"]), (&json!("Hello."), &json!(false)));
    let session = result["structuredContent"]["session"].as_str().unwrap().to_owned();
    assert!(result.get("resultType").is_none());
    let mut more = ask("and now?");
    more["arguments"]["session"] = json!(session);
    let (_, again) = client.ask(5, "tools/call", more).await;
    assert_eq!(again["result"]["structuredContent"], json!({"answer": "Again.", "session": session}));
    assert_eq!(site.kit.model().prompts().pop().unwrap().len(), 3, "it is one conversation");
}

#[tokio::test]
async fn in_the_newest_revision_each_request_stands_for_itself() {
    let site = Site::new(Setup::default()).await;
    let client = site.client();
    let (status, said) = client.modern("server/discover", json!({})).await;
    assert_eq!((status.as_u16(), &said["result"]["resultType"]), (200, &json!("complete")));
    assert_eq!(said["result"]["supportedVersions"][0], MODERN);
    let (_, list) = client.modern("tools/list", json!({})).await;
    assert_eq!(
        (&list["result"]["cacheScope"], &list["result"]["tools"][0]["name"]),
        (&json!("private"), &json!("ask_main"))
    );
    site.kit.model().push([Script::says("Hello.")]);
    let (_, answer) = client.modern("tools/call", ask("hi")).await;
    assert_eq!(
        (&answer["result"]["resultType"], &answer["result"]["content"][0]["text"]),
        (&json!("complete"), &json!("Hello."))
    );
    let (status, unknown) = client.modern("resources/list", json!({})).await;
    assert_eq!(
        (status.as_u16(), &unknown["error"]["code"], &unknown["id"]),
        (404, &json!(-32601), &json!("a"))
    );
    let (status, _) = client.modern("initialize", json!({"protocolVersion": MODERN})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn headers_that_do_not_say_what_the_body_says_are_refused() {
    let site = Site::new(Setup::default()).await;
    let client = site.client();
    let body = |version: &str, method: &str| {
        let said = ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"];
        let meta = json!({said[0]: version, said[1]: {}});
        let params = json!({"_meta": meta, "name": "ask_main", "arguments": {"message": "x"}});
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
    };
    let good = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "ask_main")];
    for (index, wrong) in [(0, "2025-11-25"), (1, "tools/list"), (2, "ask_other"), (0, ""), (1, ""), (2, "")]
    {
        let mut headers = good.to_vec();
        if wrong.is_empty() {
            headers.remove(index);
        } else {
            headers[index].1 = wrong;
        }
        let (status, refused) = read(client.send(&body(MODERN, "tools/call"), &headers).await).await;
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (400, &json!(-32020)), "{headers:?}");
    }
    let headers = [("mcp-protocol-version", "2099-01-01"), ("mcp-method", "tools/list")];
    let (status, refused) = read(client.send(&body("2099-01-01", "tools/list"), &headers).await).await;
    assert_eq!((status.as_u16(), &refused["error"]["code"]), (400, &json!(-32022)));
    assert_eq!(refused["error"]["data"]["supported"][0], MODERN);
    for missing in ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"] {
        let mut body: Value = serde_json::from_str(&body(MODERN, "tools/call")).unwrap();
        body["params"]["_meta"].as_object_mut().unwrap().remove(missing);
        let (status, refused) = read(client.send(&body.to_string(), &good).await).await;
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (400, &json!(-32602)), "{missing}");
    }
    assert!(site.kit.model().requests().is_empty());
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_nothing_runs() {
    let site = Site::new(Setup::default()).await;
    let client = site.client();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"ask_main","arguments":{deep}}}}}"#
    );
    for (body, code) in [
        ("", -32700),
        ("}{", -32700),
        (deep.as_str(), -32600),
        ("[]", -32600),
        ("1", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
    ] {
        let (status, refused) = read(client.send(body, &[]).await).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (400, &json!(code)), "{shown}");
    }
    let (status, refused) = client.ask(1, "tools/call", json!({"name": "ask_nobody", "arguments": {}})).await;
    assert_eq!((status.as_u16(), &refused["error"]["code"]), (200, &json!(-32602)));
    for arguments in [json!({}), json!({"message": 1}), json!({"message": "x", "more": 1}), json!([])] {
        let (_, told) =
            client.ask(1, "tools/call", json!({"name": "ask_main", "arguments": arguments})).await;
        assert_eq!(told["result"]["isError"], true, "{told}");
    }
    let huge = "x".repeat(2 * 1024 * 1024);
    let (status, _) = client.ask(1, "tools/call", ask(&huge)).await;
    assert_eq!(status, 413);
    let request = Request::post("/mcp").header("host", "localhost");
    let request =
        request.header("authorization", format!("Bearer {}", site.key)).header("content-type", "text/plain");
    assert_eq!(
        site.router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap().status(),
        415
    );
    assert!(site.kit.model().requests().is_empty());
}

#[tokio::test]
async fn a_session_s_name_is_no_right_to_it() {
    let site = Site::new(Setup::default()).await;
    let (bob, eve) =
        (site.narrowed(json!({"principal": "bob"})).await, site.narrowed(json!({"principal": "eve"})).await);
    site.kit.model().push([Script::says("Hello Bob.")]);
    let (_, answer) = bob.ask(1, "tools/call", ask("hi")).await;
    let session = &answer["result"]["structuredContent"]["session"];
    let mut more = ask("what did Bob say?");
    more["arguments"]["session"] = session.clone();
    let (_, told) = eve.ask(1, "tools/call", more).await;
    assert_eq!(told["result"]["isError"], true);
    assert_eq!(told["result"]["content"][0]["text"], "There is no such session; leave it out to begin one.");
    assert_eq!(site.kit.model().requests().len(), 1);
}

#[tokio::test]
async fn a_key_for_some_agents_sees_and_asks_those_only() {
    let site = Site::new(Setup::default()).await;
    let other = site.narrowed(json!({"agents": ["other"]})).await;
    let (_, list) = other.ask(1, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"], json!([]));
    let (_, refused) = other.ask(2, "tools/call", ask("hi")).await;
    assert_eq!(refused["error"]["code"], -32602);
    let own = site.narrowed(json!({"agents": [AGENT]})).await;
    assert_eq!(own.ask(1, "tools/list", json!({})).await.1["result"]["tools"][0]["name"], "ask_main");
}

#[tokio::test]
async fn a_call_shows_its_progress_and_ends_with_its_answer() {
    let (site, gate) = waiting().await;
    let body = site.client().begin(1, "go").await;
    gate.reached().await;
    gate.open();
    let messages = messages(body).await;
    let (last, progress) = messages.split_last().unwrap();
    assert_eq!((&last["id"], &last["result"]["content"][0]["text"]), (&json!(1), &json!("done")));
    let told: Vec<_> = progress.iter().map(|note| note["params"].clone()).collect();
    assert_eq!(told[0], json!({"progressToken": 7, "progress": 1, "message": "The agent begins."}));
    assert_eq!(told[1], json!({"progressToken": 7, "progress": 2, "message": "The agent runs wait."}));
}

#[tokio::test]
async fn a_client_s_cancel_ends_its_own_call_and_no_other() {
    let (site, gate) = waiting().await;
    let mut client = site.narrowed(json!({"principal": "bob"})).await;
    client.name = Some("one".into());
    let body = client.begin(1, "go").await;
    gate.reached().await;
    // Another key, another client of the same key, another call.
    site.client().cancel(1).await;
    Client { name: Some("two".into()), ..client.clone() }.cancel(1).await;
    client.cancel(2).await;
    assert_eq!(site.kit.gateway().running_turns(), 1);
    client.cancel(1).await;
    let messages = messages(body).await;
    assert!(messages.iter().all(|message| message.get("result").is_none()), "{messages:?}");
    assert!(matches!(ending(&site).await, Event::TurnCancelled(_)));
}

#[tokio::test]
async fn who_goes_away_ends_the_turn_in_the_newest_revision_only() {
    let (site, gate) = waiting().await;
    let bob = site.narrowed(json!({"principal": "bob"})).await;
    let response = bob.modern_raw("tools/call", ask("go"), "text/event-stream").await;
    gate.reached().await;
    drop(response);
    assert!(matches!(ending(&site).await, Event::TurnCancelled(_)));
    let (site, gate) = waiting().await;
    let bob = site.narrowed(json!({"principal": "bob"})).await;
    let body = bob.begin(1, "go").await;
    gate.reached().await;
    drop(body);
    gate.open();
    assert!(matches!(ending(&site).await, Event::TurnCompleted(_)));
}

#[tokio::test]
async fn a_key_asks_so_often_a_minute_and_no_more() {
    let site = Site::with(Setup::default(), |app| app.doors.mcp.limits.inputs_per_minute = 1).await;
    site.kit.model().push([Script::says("Hello.")]);
    let client = site.client();
    assert_eq!(client.ask(1, "tools/call", ask("hi")).await.0, 200);
    let (status, refused) = client.ask(2, "tools/call", ask("hi")).await;
    assert_eq!((status.as_u16(), &refused["id"]), (429, &json!(2)));
    assert_eq!(client.ask(3, "tools/list", json!({})).await.0, 200);
}
