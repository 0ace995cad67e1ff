//! What holds at every door besides the native one: the frozen public list, names, origins, keys, and both
//! mounts.

mod common;

use axum::body::Body;
use common::{Gate, anonymous, live::Live, read};
use http::Request;
use moongate_server::{DoorRoute, Doors, door_routes};

/// Routes of the doors that need no key. Nothing is added here without a reason.
const PUBLIC: [&str; 10] = [
    "GET /construct/api/status",
    "GET /construct/health",
    // The code itself is never in it.
    "GET /construct/pair/code",
    "GET /orra/health",
    // Static files of a UI; nothing without `ui_dir`.
    "GET /oxios",
    "GET /oxios/health",
    "GET /oxios/health/ready",
    "GET /oxios/{*path}",
    // What turns a code into a key needs none; both are limited by address.
    "POST /construct/api/pair",
    "POST /construct/pair",
];
const PREFIXES: [&str; 5] = ["/construct", "/mcp", "/openai/v1", "/orra", "/oxios"];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];

/// The path with something in the place of its parameters.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn methods(route: &DoorRoute) -> Vec<&'static str> {
    route.method.map_or_else(|| METHODS.to_vec(), |method| vec![method])
}

#[tokio::test]
async fn without_a_key_only_the_frozen_public_list_of_every_door_answers() {
    let gate = Gate::new();
    let mut public = Vec::new();
    for route in door_routes(&Doors::default()) {
        let path = filled(&route.path);
        for method in methods(&route) {
            if route.public {
                public.push(format!("{method} {}", route.path));
                continue;
            }
            let request = anonymous(method, &path).header("content-type", "application/json");
            let response = gate.send(request.body(Body::from("{}")).unwrap()).await;
            assert_eq!(response.status(), 401, "{method} {path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{method} {path}");
            if method != "HEAD" {
                assert!(read(response).await.1.is_object(), "{method} {path}");
            }
        }
    }
    public.sort();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_405_in_json_at_every_door() {
    let gate = Gate::new();
    for prefix in PREFIXES {
        for path in [format!("{prefix}/no/such"), prefix.to_owned()] {
            let (status, body) =
                read(gate.send(anonymous("GET", &path).body(Body::empty()).unwrap()).await).await;
            // A door that is one route only.
            let expected = if path == "/mcp" { 405 } else { 404 };
            assert_eq!((status.as_u16(), body.is_object()), (expected, true), "{path}");
        }
    }
    let response = gate.send(anonymous("DELETE", "/orra/health").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert!(read(response).await.1.is_object());
}

#[tokio::test]
async fn every_door_checks_names_and_origins_also_where_no_key_is_needed() {
    let gate = Gate::new();
    for prefix in PREFIXES {
        let path = format!("{prefix}/health");
        let foreign = Request::get(&path).header("host", "evil.example").body(Body::empty()).unwrap();
        assert_eq!(gate.send(foreign).await.status(), 421, "{path}");
        let page = anonymous("GET", &path).header("origin", "https://evil.example");
        let response = gate.send(page.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 403, "{path}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn a_listed_origin_may_ask_and_read_and_no_other() {
    let gate = Gate::with(|app| app.doors.orra.cors_origins = vec!["https://ui.example".into()]);
    let ask = |origin: &str| {
        anonymous("OPTIONS", "/orra/api/chat")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = gate.send(ask("https://ui.example")).await;
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://ui.example");
    assert!(allowed.headers()["access-control-allow-headers"].to_str().unwrap().contains("Authorization"));
    assert!(!allowed.headers().contains_key("access-control-allow-credentials"));
    let refused = gate.send(ask("https://other.example")).await;
    assert_eq!(refused.status(), 403);
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_door_with_a_listener_of_its_own_is_at_its_root_and_under_its_prefix() {
    let any = Some("127.0.0.1:0".parse().unwrap());
    let live = Live::with(None, |app| app.doors.orra.listen = any).await;
    let own = live.doors["orra"];
    for (address, path) in [(own, "/health"), (live.address, "/orra/health")] {
        let reply = common::live::get(address, path).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{path}: {reply}");
    }
    let reply = common::live::get(own, "/api/v1/sessions").await;
    assert!(reply.starts_with("HTTP/1.1 404"), "the native door is not on a door's listener: {reply}");
    live.stop().await;
}

#[tokio::test]
async fn o23_a_subscriber_of_oxios_that_is_behind_is_told_how_much_it_missed() {
    const TURNS: usize = 250;
    /// Events a turn without tools gives.
    const OF_A_TURN: usize = 5;
    /// Events that are kept for those who are behind.
    const KEPT: usize = 1_024;
    let gate = Gate::new();
    let mut behind = gate.stream("/oxios/api/events").await;
    let mut reads = gate.stream("/oxios/api/events").await;
    let session = gate.session().await;
    for _ in 0..TURNS {
        gate.turn(&session, "hello").await;
        for _ in 0..OF_A_TURN {
            assert_eq!(reads.next().await.unwrap().event, "");
        }
    }
    let resync = behind.next().await.unwrap();
    assert_eq!((resync.event.as_str(), resync.data["type"].as_str()), ("resync", Some("resync")));
    assert_eq!(resync.data["lagged"], TURNS * OF_A_TURN - KEPT);
    let mut last = 0;
    for _ in 0..KEPT {
        let event = behind.next().await.unwrap();
        let id: u64 = event.id.unwrap().parse().unwrap();
        assert!(id > last && event.data["type"].is_string(), "{id} after {last}");
        last = id;
    }
    // The newest is the last: nothing but what it was told of is missing.
    gate.turn(&session, "hello").await;
    assert_eq!(behind.next().await.unwrap().data["type"], reads.next().await.unwrap().data["type"]);
}
