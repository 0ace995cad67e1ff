//! The service itself: health, status, configuration, a UI's files.

use moongate_core::StoreError;
use moongate_server::AppConfig;
use moongate_testkit::Setup;
use serde_json::{Value, json};

use crate::kit::{Live, Mount, both};

both! {
    async fn o1_the_server_starts_with_all_routes_and_says_that_it_lives(live: Setup::default()) {
        let health = live.send("GET", "/health", "", "").await;
        assert_eq!((health.status, health.body), (200, json!({"status": "ok", "version": "1.0.1"})));
        let ready = live.send("GET", "/health/ready", "", "").await;
        assert_eq!((ready.status, &ready.body["status"]), (200, &json!("healthy")));
        assert_eq!(ready.body["components"]["state_store"], json!({"healthy": true}));
        assert_eq!(ready.body["components"]["git"], json!({"healthy": true, "enabled": false}));
        assert_eq!(live.send("GET", "/api/status", "", "").await.status, 401);
        let status = live.get("/api/status").await.body;
        assert_eq!((&status["service"], &status["status"], &status["version"]), (&json!("oxios"), &json!("running"), &json!("1.0.1")));
        assert_eq!((&status["channels"][0], &status["auth_enabled"]), (&json!("web"), &json!(true)));
        assert_eq!(status["components"]["state_store"], json!({"healthy": true, "detail": null}));
        assert!(status["uptime"].as_str().unwrap().ends_with('s'));
        assert_eq!(live.send("GET", "/metrics", "", "").await.status, 401);
        assert!(live.get("/metrics").await.body.as_str().unwrap().contains("oxios_agents_running"));
    }

    async fn o18_a_change_of_the_configuration_never_replaces_and_never_tells_a_secret(live: Setup::default()) {
        let tree = live.get("/api/config").await.body;
        assert_eq!((&tree["engine"]["default_model"], &tree["engine"]["api_key_set"]), (&json!("scripted/main"), &json!(true)));
        assert!(tree["engine"].get("api_key").is_none());
        assert_eq!((&tree["session"]["max_sessions"], &tree["security"]["auth_enabled"]), (&json!(100), &json!(true)));
        // A form that sends everything back changes nothing.
        let mut whole = tree.clone();
        whole["engine"]["api_key"] = json!("***");
        whole["engine"]["unheard_of"] = json!(1);
        for method in ["PUT", "PATCH"] {
            let reply = live.json(method, "/api/config", whole.clone()).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            let expected = json!({"applied": [], "restart_required": [], "ignored": ["engine.unheard_of"]});
            assert_eq!(reply.body["_moongate"], expected);
            assert_eq!(reply.body["engine"], tree["engine"]);
        }
        let refused = [
            (json!({"security": {"auth_enabled": false}}), "authentication cannot be turned off"),
            (json!({"engine": {"api_key": "sk-canary"}}), "secrets cannot be set here"),
            (json!({"gateway": {"port": 9}}), "gateway.port"),
            (json!({"exec": {"allow_shell_mode": true}}), "exec.allow_shell_mode"),
            (json!({"session": {"max_sessions": -1}}), "session.max_sessions has to be a whole number"),
            (json!({"session": {"auto_prune": 1}}), "session.auto_prune has to be true or false"),
            (json!({"kernel": {"max_agents": 0}}), "kernel.max_agents has to be"),
            (json!({"logging": {"format": "compact"}}), "logging.format is pretty or json"),
            (json!({"engine": {"default_model": 7}}), "engine.default_model has to be a model"),
        ];
        for (body, words) in refused {
            let reply = live.json("PUT", "/api/config", body).await;
            let error = reply.body["error"].as_str().unwrap().to_owned();
            assert!(reply.status == 400 && error.contains(words), "{error}");
            assert!(!error.contains("canary"));
        }
        assert_eq!(live.get("/api/config").await.body, tree);
        assert_eq!(live.json("PUT", "/api/config", json!([])).await.status, 422);
    }
}

fn with_ui(app: &mut AppConfig) {
    let folder = std::env::temp_dir().join(format!("moongate-oxios-ui-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("ui/assets")).unwrap();
    std::fs::create_dir_all(folder.join("ui/locales/en")).unwrap();
    let files = [
        ("ui/index.html", "<p>the page</p>"),
        ("ui/favicon.svg", "<svg/>"),
        ("ui/locales/en/common.json", "{\"hello\":\"world\"}"),
        ("ui/assets/app.js", "1"),
        ("secret.txt", "secret"),
    ];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let link = folder.join("ui/out.txt");
    drop(std::os::unix::fs::symlink(folder.join("secret.txt"), link));
    app.doors.oxios.ui_dir = Some(folder.join("ui"));
}

#[tokio::test]
async fn o29_a_uis_files_are_served_at_the_root_of_the_own_listener_only() {
    let live = Live::start(Setup::default(), Mount::Own, with_ui).await;
    let page = "accept: text/html\r\n";
    for path in ["/", "/chat/some/page", "/index.html"] {
        let reply = live.send("GET", path, page, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, Some("<p>the page</p>")), "{path}");
        assert!(reply.head.contains("cache-control: no-cache") && reply.head.contains("default-src 'self'"));
    }
    let root = live.send("GET", "/", "accept: */*\r\n", "").await;
    assert_eq!(
        (root.status, root.body.as_str()),
        (200, Some("<p>the page</p>")),
        "for who says nothing of pages too"
    );
    let locale = live.send("GET", "/locales/en/common.json", "", "").await;
    assert_eq!((locale.status, &locale.body["hello"]), (200, &json!("world")));
    let icon = live.send("GET", "/favicon.svg", "", "").await;
    assert!(icon.status == 200 && icon.head.contains("image/svg+xml"));
    for path in
        ["/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/out.txt", "/assets/none.js", "/nope"]
    {
        let reply = live.send("GET", path, "", "").await;
        assert_eq!((reply.status, reply.body["error"].is_string()), (404, true), "{path}: {}", reply.body);
    }
    assert_eq!(live.send("GET", "/assets/none.js", page, "").await.status, 404);
    assert_eq!(live.send("GET", "/api/nope", page, "").await.status, 401);
    assert_eq!(live.get("/api/nope").await.status, 404);
    let beneath = Live::start(Setup::default(), Mount::Prefix, with_ui).await;
    for path in ["/index.html", "/chat"] {
        let reply = beneath.send("GET", path, page, "").await;
        assert_eq!((reply.status, reply.body["error"] != Value::Null), (404, true), "{path}");
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_found_out_by_one() {
    let live = Live::start(Setup::default(), Mount::Prefix, |_| {}).await;
    live.kit.store().refuse(Some(|| StoreError::DiskFull));
    // Nothing failed yet, and still it is known.
    let ready = live.send("GET", "/health/ready", "", "").await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("degraded")));
    assert_eq!(ready.body["components"]["state_store"], json!({"healthy": false}));
    assert_eq!(live.send("GET", "/health", "", "").await.status, 200);
    let writes = live.kit.store().appends();
    for _ in 0..20 {
        live.send("GET", "/health/ready", "", "").await;
    }
    // Whoever asks again and again does not write again and again.
    assert!(live.kit.store().appends() <= writes + 1);
}
