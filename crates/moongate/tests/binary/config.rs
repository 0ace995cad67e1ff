//! Changes of the configuration while the server runs: what counts at once, what is kept, what is refused.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use serde_json::{Value, json};

use crate::home::{Home, Serving};

const FILE: &str = "# by hand\n[limits]\nturns_per_node = 5\n\
                    [providers.mine]\nkind = \"openai-chat\"\nbase_url = \"http://127.0.0.1:9/v1\"\nkey = \"file:key.txt\"\n\
                    models = [\"small\", \"large\"]\nheaders = { X-Canary = \"s3cr3t\" }\n\
                    [agents.default]\nmodel = \"mine/small\"\n";

/// A server with the file above, and the administrator's key.
struct Site {
    home: Home,
    file: String,
}

impl Site {
    fn new() -> Self {
        let home = Home::new();
        home.write("key.txt", "s3cr3t-key\n");
        let file = home.write("m.toml", FILE).to_str().unwrap().to_owned();
        Self { home, file }
    }

    fn serve(&self) -> Serving {
        self.home.serve(&["--config", &self.file])
    }

    fn overlay(&self) -> std::path::PathBuf {
        self.home.data().join("config.overlay.toml")
    }

    fn ask(&self, server: &Serving, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (key, body) = (self.home.key(), body.to_string());
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).unwrap();
        assert!(!reply.contains("s3cr3t"), "{reply}");
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn patch(&self, server: &Serving, body: &Value) -> (u16, Value) {
        self.ask(server, "PATCH", "/api/v1/config", body)
    }

    /// The value in force, and where it comes from.
    fn setting(&self, server: &Serving, key: &str) -> (String, String) {
        let (_, shown) = self.ask(server, "GET", "/api/v1/config", &json!({}));
        let found = shown["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key);
        let found = found.unwrap_or_else(|| panic!("{key} is in force"));
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        (text("value"), text("from"))
    }
}

#[test]
fn a_change_counts_at_once_outlives_the_process_and_leaves_the_file_alone() {
    let site = Site::new();
    let server = site.serve();
    assert_eq!(site.setting(&server, "limits.turns_per_node"), ("5".into(), "line 3".into()));
    let wish = json!({
        "limits": { "turns_per_node": 7, "turn_secs": 60 },
        "agents": { "default": { "model": "mine/large" }, "coder": { "model": "mine/small", "temperature": 0.5 } },
        "doors": { "oxios": { "requests_per_minute": 11 }, "prune": { "max_sessions": 3 } },
        "spend": { "day": { "cost_usd": 2.5 } },
        "telemetry": { "format": "json" },
    });
    let (status, body) = site.patch(&server, &wish);
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["restart_required"], json!(["telemetry.format"]));
    assert_eq!(body["applied"].as_array().unwrap().len(), 8, "{body}");
    let (_, agents) = site.ask(&server, "GET", "/api/v1/agents", &json!({}));
    assert_eq!(
        (&agents["items"][0]["name"], &agents["items"][1]["model"]),
        (&json!("coder"), &json!("mine/large"))
    );
    let (_, tree) = site.ask(&server, "GET", "/oxios/api/config", &json!({}));
    assert_eq!((&tree["kernel"]["max_agents"], &tree["session"]["max_sessions"]), (&json!(7), &json!(3)));
    assert_eq!(tree["security"]["rate_limit_per_minute"], 11);
    let mode = fs::metadata(site.overlay()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    server.kill();
    let server = site.serve();
    let (value, from) = site.setting(&server, "limits.turns_per_node");
    assert!(value == "7" && from.starts_with("config.overlay.toml line "), "{value} {from}");
    assert_eq!(site.setting(&server, "telemetry.format").0, "\"json\"");
    assert_eq!(fs::read_to_string(&site.file).unwrap(), FILE);
    let checked = site.home.done(&["config", "check", "--config", &site.file]);
    assert!(
        checked.contains("m.toml with ") && checked.contains("config.overlay.toml: nothing is wrong"),
        "{checked}"
    );
    // Taken back, the file counts again.
    let (status, body) =
        site.patch(&server, &json!({ "limits": null, "agents": { "coder": null }, "prices": null }));
    let mut applied: Vec<_> =
        body["applied"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    applied.sort_unstable();
    assert_eq!((status, applied), (200, vec!["agents.coder", "limits"]), "{body}");
    assert_eq!(site.setting(&server, "limits.turns_per_node"), ("5".into(), "line 3".into()));
    let (_, agents) = site.ask(&server, "GET", "/api/v1/agents", &json!({}));
    assert_eq!(agents["items"].as_array().unwrap().len(), 1);
    // The operator's own words are read when the server is told to, with the changes still over them.
    fs::write(&site.file, FILE.replace("turns_per_node = 5", "turns_per_node = 6")).unwrap();
    site.patch(&server, &json!({ "limits": { "queue_inputs": 9 } }));
    assert_eq!(site.setting(&server, "limits.turns_per_node").0, "5");
    let mut server = server;
    server.signal("HUP");
    server.wait_for_log("of the configuration are in force");
    assert_eq!(site.setting(&server, "limits.turns_per_node"), ("6".into(), "line 3".into()));
    assert_eq!(site.setting(&server, "limits.queue_inputs").0, "9");
}

#[test]
fn what_is_wrong_is_refused_whole_and_what_is_the_operators_stays_his() {
    let site = Site::new();
    let server = site.serve();
    let refused = [
        (
            json!({ "limits": { "turns_per_node": 0, "nonsense": 1, "turn_secs": 7 }, "agents": { "default": { "model": "no/such" } } }),
            &["limits.turns_per_node: ", "limits.nonsense: ", "agents.default.model: "][..],
        ),
        (json!({ "limits": { "turn_secs": "long" } }), &["limits.turn_secs: "]),
        (
            json!({ "providers": { "mine": { "base_url": "http://evil.example/v1" } } }),
            &["providers.mine.base_url: "],
        ),
        (json!({ "providers": { "mine": { "key": "file:/etc/passwd" } } }), &["providers.mine.key: "]),
        (
            json!({ "providers": { "mine": { "headers": { "X-Canary": "mine" } } } }),
            &["providers.mine.headers.X-Canary: "],
        ),
        (json!({ "providers": { "openai": { "models": ["x"] } } }), &["providers.openai.models: "]),
        (
            json!({ "agents": { "default": { "system_file": "/etc/passwd" } } }),
            &["agents.default.system_file: "],
        ),
        (json!({ "server": { "listen": "0.0.0.0:80" } }), &["server.listen: "]),
        (
            json!({ "doors": { "oxios": { "allowed_origins": ["https://evil.example"] } } }),
            &["doors.oxios.allowed_origins: "],
        ),
        (json!({ "store": { "path": "/tmp" } }), &["store.path: "]),
        (json!({ "tools": { "workspace": "/" } }), &["tools.workspace: "]),
        (json!({ "tools": { "shell": { "sandbox": "none" } } }), &["tools.shell.sandbox: "]),
        (json!({ "tools": { "shell": { "readable": ["/etc"] } } }), &["tools.shell.readable: "]),
        (json!({ "tools": { "web": { "allow_private": ["localhost"] } } }), &["tools.web.allow_private: "]),
        (json!({ "mcp": { "mine": { "command": "/bin/sh" } } }), &["mcp.mine.command: "]),
        (json!({ "mcp": { "mine": { "url": "http://evil.example/mcp" } } }), &["mcp.mine.url: "]),
        (json!({ "limits": 5 }), &["limits: "]),
    ];
    let before = site.ask(&server, "GET", "/api/v1/config", &json!({})).1;
    for (wish, words) in &refused {
        let (status, body) = site.patch(&server, wish);
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400, "{wish}: {body}");
        for word in *words {
            assert!(message.contains(word), "{word:?} in {message:?}");
        }
        assert!(!message.contains(site.home.path().to_str().unwrap()), "{message}");
    }
    assert!(!site.overlay().exists());
    // What is shown may be sent back: a mask is no secret, and what is so already is no change.
    let same = json!({
        "providers": { "mine": { "key": "***", "base_url": "http://127.0.0.1:9/v1", "headers": { "X-Canary": "(set)" } } },
        "limits": { "turns_per_node": 5 },
    });
    let (status, body) = site.patch(&server, &same);
    assert_eq!(
        (status, &body["applied"], &body["restart_required"]),
        (200, &json!([]), &json!([])),
        "{body}"
    );
    assert!(!site.overlay().exists());
    assert_eq!(site.ask(&server, "GET", "/api/v1/config", &json!({})).1, before);
    // A change that cannot be kept is not made.
    fs::create_dir(site.overlay()).unwrap();
    let (status, _) = site.patch(&server, &json!({ "limits": { "turns_per_node": 8 } }));
    assert_eq!(status, 500);
    assert_eq!(site.setting(&server, "limits.turns_per_node").0, "5");
}

#[test]
fn o18_the_oxios_form_changes_what_it_says_and_nothing_else() {
    let site = Site::new();
    let server = site.serve();
    let config = |method: &str, body: &Value| site.ask(&server, method, "/oxios/api/config", body);
    let (_, tree) = config("GET", &json!({}));
    assert_eq!(
        (&tree["engine"]["default_model"], &tree["session"]["auto_prune"]),
        (&json!("mine/small"), &json!(false))
    );
    // The whole form, one section of it changed.
    let mut form = tree.clone();
    form["session"] = json!({ "max_sessions": 7, "ttl_hours": 24, "auto_prune": true });
    form["engine"]["api_key"] = json!("");
    let (status, changed) = config("PUT", &form);
    assert_eq!(status, 200, "{changed}");
    let expected = ["session.auto_prune", "session.max_sessions", "session.ttl_hours"];
    let mut applied: Vec<_> =
        changed["_moongate"]["applied"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
    applied.sort_unstable();
    assert_eq!(applied, expected);
    let mut wanted = tree.clone();
    wanted["session"] = form["session"].clone();
    assert_eq!(config("GET", &json!({})).1, wanted);
    let rest = json!({
        "engine": { "default_model": "mine/large" }, "logging": { "format": "json" },
        "kernel": { "max_agents": 4 }, "scheduler": { "max_concurrent": 2 },
        "security": { "rate_limit_per_minute": 500, "max_execution_time_secs": 30 },
        "exec": { "max_timeout_secs": 60 }, "unheard": { "of": 1 },
    });
    let (status, changed) = config("PATCH", &rest);
    assert_eq!(status, 200, "{changed}");
    let effects = &changed["_moongate"];
    assert_eq!(
        (&effects["restart_required"], &effects["ignored"]),
        (&json!(["logging.format"]), &json!(["unheard.of"]))
    );
    assert_eq!(effects["applied"].as_array().unwrap().len(), 6, "{effects}");
    assert_eq!(
        (&changed["engine"]["default_model"], &changed["exec"]["default_timeout_secs"]),
        (&json!("mine/large"), &json!(60))
    );
    let bad = json!({ "engine": { "default_model": "no/such" }, "kernel": { "max_agents": 3 } });
    let (status, refused) = config("PUT", &bad);
    assert!(status == 400 && refused["error"].as_str().unwrap().contains("no provider named"), "{refused}");
    assert_eq!(config("GET", &json!({})).1["kernel"]["max_agents"], 4);
    // Null is what the file says.
    let (_, back) = config("PUT", &json!({ "session": null, "kernel": { "max_agents": null } }));
    assert_eq!((&back["kernel"]["max_agents"], &back["session"]), (&json!(5), &wanted["session"]), "{back}");
}
