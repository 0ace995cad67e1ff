//! What there is: agents, models, usage, metrics, and the document itself.

mod common;

use std::sync::{Arc, Mutex, PoisonError};

use common::Gate;
use moongate_server::{App, ChangeFault, Configuration, Effect, Setting, SettingChange, SettingValue};
use serde_json::{Value, json};

#[tokio::test]
async fn agents_models_and_usage_are_shown() {
    let gate = Gate::new();
    let (_, agents) = gate.get("/api/v1/agents").await;
    let names: Vec<_> =
        agents["items"].as_array().unwrap().iter().map(|a| (&a["name"], &a["default"])).collect();
    assert_eq!(names, [(&json!("main"), &json!(true)), (&json!("other"), &json!(false))]);
    let (_, models) = gate.get("/api/v1/models").await;
    assert_eq!(models["items"][0]["name"], "test/echo");
    assert_eq!(models["items"][0]["price"]["output"], 2_000_000);
    let session = gate.session().await;
    gate.turn(&session, "hello").await;
    for group in ["day", "agent", "model", "session"] {
        let (status, usage) = gate.get(&format!("/api/v1/usage?group={group}")).await;
        assert_eq!(status, 200, "{usage}");
        let row = &usage["items"][0];
        assert_eq!(
            (&row["calls"], &row["cost_usd"], &row["unpriced_calls"]),
            (&json!(1), &json!(0.000_013), &json!(0))
        );
    }
    let (status, _) = gate.get("/api/v1/usage?group=weather").await;
    assert_eq!(status, 400);
    assert_eq!(
        gate.get("/api/v1/usage?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z").await.1["items"],
        json!([])
    );
    let (_, narrow) = gate.key(json!({ "scopes": ["sessions:read"], "agents": ["other"] })).await;
    let (_, agents) = gate.as_key(&narrow).get("/api/v1/agents").await;
    assert_eq!(agents["items"].as_array().unwrap().len(), 1);
}

/// A configuration that does what it is told and remembers it: `no` is refused, what `telemetry` says is for later.
#[derive(Default)]
struct Desk(Mutex<Vec<SettingChange>>);

impl Configuration for Desk {
    fn settings(&self) -> Vec<Setting> {
        let (key, value, from) = ("server.listen".into(), "\"127.0.0.1:8137\"".into(), "default".into());
        vec![Setting { key, value, from }]
    }

    fn change(&self, changes: &[SettingChange], _: &App) -> Result<Vec<Effect>, ChangeFault> {
        let refused: Vec<_> = changes.iter().filter(|change| change.path[0] == "no").collect();
        if !refused.is_empty() {
            return Err(ChangeFault::Refused(
                refused.iter().map(|c| format!("{}: no", c.path.join("."))).collect(),
            ));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(changes);
        let effect = |change: &SettingChange| match change.path[0].as_str() {
            "telemetry" => Effect::Restart,
            "same" => Effect::Same,
            _ => Effect::Applied,
        };
        Ok(changes.iter().map(effect).collect())
    }
}

#[tokio::test]
async fn the_configuration_is_shown_and_changed_by_whoever_may() {
    let desk = Arc::new(Desk::default());
    let gate = Gate::with(|config| config.config = Arc::clone(&desk) as Arc<dyn Configuration>);
    let (status, config) = gate.get("/api/v1/config").await;
    assert_eq!((status.as_u16(), &config["settings"][0]["key"]), (200, &json!("server.listen")));
    let wish = json!({
        "limits": { "turns_per_node": 7, "turn_secs": null },
        "telemetry": { "format": "json" },
        "same": true,
        "agents": { "a.b": { "temperature": 0.5, "fallbacks": ["x/y"] } },
    });
    let (status, body) = gate.json("PATCH", "/api/v1/config", wish).await;
    assert_eq!(status, 200, "{body}");
    let mut applied: Vec<_> =
        body["applied"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    applied.sort_unstable();
    let expected =
        ["agents.a.b.fallbacks", "agents.a.b.temperature", "limits.turn_secs", "limits.turns_per_node"];
    assert_eq!(applied, expected);
    assert_eq!(
        (&body["restart_required"], &body["settings"]),
        (&json!(["telemetry.format"]), &config["settings"])
    );
    let changes = std::mem::take(&mut *desk.0.lock().unwrap());
    let value = |path: &[&str]| changes.iter().find(|c| c.path == path).unwrap().value.clone();
    assert_eq!(value(&["limits", "turns_per_node"]), Some(SettingValue::Whole(7)));
    assert_eq!(value(&["limits", "turn_secs"]), None);
    assert_eq!(value(&["agents", "a.b", "temperature"]), Some(SettingValue::Number(0.5)));
    let (_, audit) = gate.get("/api/v1/audit").await;
    assert_eq!(audit["items"][0]["action"], "config.changed");
    assert!(!audit["items"][0]["object"].as_str().unwrap().contains("same"), "{audit}");
    // All or nothing, and everything that is wrong at once.
    let (status, body) =
        gate.json("PATCH", "/api/v1/config", json!({"no": {"a": 1, "b": 2}, "limits": {"x": 1}})).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")));
    assert!(body["error"]["message"].as_str().unwrap().contains("no.a: no; no.b: no"), "{body}");
    let (status, _) = gate.json("PATCH", "/api/v1/config", json!({"limits": {"x": [{"a": 1}]}})).await;
    assert_eq!(status, 400);
    assert!(desk.0.lock().unwrap().is_empty());
    // What agents may do without a person is another right.
    let (_, key) = gate.key(json!({ "scopes": ["config:write"] })).await;
    for (wish, wanted) in [
        (json!({"limits": {"x": 1}}), 200),
        (json!({"policy": {"default": "full"}}), 403),
        (json!({"agents": {"a": {"policy": "full"}}}), 403),
        (json!({"agents": {"a": null}}), 403),
        (json!({"agents": null}), 403),
        (json!({"agents": {"a": {"model": "x/y"}}}), 200),
    ] {
        let (status, body) = gate.as_key(&key).json("PATCH", "/api/v1/config", wish.clone()).await;
        assert_eq!(status.as_u16(), wanted, "{wish} {body}");
    }
}

#[tokio::test]
async fn metrics_count_requests_by_template_and_never_by_what_they_said() {
    let gate = Gate::new();
    let session = gate.session().await;
    gate.get(&session).await;
    gate.get("/api/v1/made-up-by-a-client").await;
    let mut stream = gate.stream(&format!("{session}/events")).await;
    stream.next().await.unwrap();
    let (_, text) = gate.get("/metrics").await;
    let text = text.as_str().unwrap();
    let wanted = [
        "moongate_http_requests_total{route=\"/api/v1/sessions/{session}\",method=\"GET\",status=\"200\"} 1",
        "moongate_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "moongate_sse_streams 1",
        "moongate_open_sessions 1",
        "moongate_store_writable 1",
        "moongate_http_request_duration_seconds_bucket{route=\"/api/v1/sessions\",le=\"+Inf\"} 1",
    ];
    for line in wanted {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ses_") && !text.contains("made-up"));
    drop(stream);
    assert!(gate.get("/metrics").await.1.as_str().unwrap().contains("moongate_sse_streams 0"));
}

#[tokio::test]
async fn the_document_names_every_schema_it_refers_to() {
    let gate = Gate::new();
    let (_, document) = gate.get("/openapi.json").await;
    assert_eq!(document, gate.get("/api/v1/openapi.json").await.1);
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} is missing");
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn nobody_waits_so_nothing_is_asked() {
    let gate = Gate::new();
    assert_eq!(gate.get("/api/v1/approvals?state=open").await.1, json!({ "items": [] }));
    assert_eq!(gate.get("/api/v1/questions").await.1, json!({ "items": [] }));
    let decide = json!({ "decision": "approve" });
    assert_eq!(gate.post("/api/v1/approvals/apr_00000000000000000000000000", decide).await.0, 404);
    let answers = json!({ "answers": {} });
    assert_eq!(gate.post("/api/v1/questions/qst_00000000000000000000000000", answers).await.0, 404);
}
