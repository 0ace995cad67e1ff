//! What a key may use, and what happens when it ends.

use std::time::Duration;

use moongate_core::{Allowance, Catalog, Spending};
use moongate_server::door::openai::KeyLimits;
use moongate_testkit::{Gate, Script, Setup};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Key, Live, asks, http, socket::Socket};

/// How soon a stream is closed whose key was revoked.
const CLOSED: Duration = Duration::from_secs(5);

fn says(text: &str) -> Value {
    json!({"model": "moongate/main", "input": text})
}

async fn limited(inputs_per_minute: u32, sockets_per_key: usize) -> Live {
    Live::limited(Setup::default(), KeyLimits { inputs_per_minute, sockets_per_key }).await
}

#[tokio::test]
async fn a_key_past_its_share_is_told_when_to_come_back_and_no_other_is() {
    let live = limited(3, 8).await;
    let (one, two) = (live.key(json!({})).await, live.key(json!({})).await);
    let mut socket = Socket::open_as(&live, &one).await.unwrap();
    socket.create(json!({})).await;
    assert_eq!(socket.response().await.pop().unwrap()["type"], "response.completed");
    let within = live.ask(&one, "POST", "/chat/completions", Some(asks("hi"))).await;
    assert_eq!((within.status, within.header("x-ratelimit-limit-requests")), (200, Some("3")));
    assert_eq!(within.header("x-ratelimit-remaining-requests"), Some("1"));
    // What is refused for another reason counts as well.
    assert_eq!(live.ask(&one, "POST", "/responses", Some(json!([]))).await.status, 400);
    let asked = live.kit.model().requests().len();
    for (path, body) in [("/chat/completions", asks("hi")), ("/responses", says("hi"))] {
        let past = live.ask(&one, "POST", path, Some(body)).await;
        let error = &past.json()["error"];
        assert_eq!((past.status, &error["code"]), (429, &json!("rate_limit_exceeded")), "{path}");
        assert_eq!(error["type"], "rate_limit_error");
        assert_eq!(past.header("x-ratelimit-remaining-requests"), Some("0"));
        assert!(past.header("x-ratelimit-reset-requests").unwrap().ends_with("ms"));
        let wait: u64 = past.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
        assert!(past.header("x-request-id").is_some());
    }
    socket.create(json!({})).await;
    let past = socket.next().await;
    assert_eq!((&past["type"], &past["status"]), (&json!("error"), &json!(429)));
    assert_eq!(past["error"]["code"], "rate_limit_exceeded");
    assert_eq!(live.kit.model().requests().len(), asked, "nothing was begun");
    // Reading costs nothing, and another key has its own share.
    assert_eq!(live.ask(&one, "GET", "/models", None).await.status, 200);
    live.ask(&two, "POST", "/responses", Some(says("hi"))).await.ok();
}

#[tokio::test]
async fn past_a_spend_limit_there_is_no_quota_and_no_model_is_called() {
    let live = limited(0, 8).await;
    let caller = Allowance { calls: Some(1), ..Allowance::default() };
    let gateway = live.kit.gateway();
    let spending = Spending { caller, ..Spending::default() };
    gateway.set_catalog(Catalog { spending, ..Catalog::clone(&gateway.catalog()) });
    let key = live.key(json!({"principal": "bob"})).await;
    live.ask(&key, "POST", "/responses", Some(says("hi"))).await.ok();
    let refused = live.ask(&key, "POST", "/chat/completions", Some(asks("hi"))).await;
    let error = &refused.json()["error"];
    let quota = json!("insufficient_quota");
    assert_eq!((refused.status, &error["code"], &error["type"]), (429, &quota, &quota), "{refused:?}");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let failed = live.ask(&key, "POST", "/responses", Some(says("hi"))).await;
    assert_eq!((failed.status, &failed.json()["error"]["code"]), (429, &quota), "{failed:?}");
    assert_eq!(live.kit.model().requests().len(), 1);
}

#[tokio::test]
async fn without_a_bound_nobody_is_counted() {
    let live = limited(0, 8).await;
    for _ in 0..20 {
        let reply = live.post("/responses", says("hi")).await;
        assert_eq!((reply.status, reply.header("x-ratelimit-limit-requests")), (200, None));
    }
}

#[tokio::test]
async fn a_key_has_so_many_sockets_and_one_more_when_one_is_closed() {
    let live = limited(0, 1).await;
    let (one, two) = (live.key(json!({})).await, live.key(json!({})).await);
    let first = Socket::open_as(&live, &one).await.unwrap();
    let refused = Socket::open_as(&live, &one).await.err().unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    Socket::open_as(&live, &two).await.unwrap();
    drop(first);
    let again = async {
        while Socket::open_as(&live, &one).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::SOON, again).await.unwrap();
}

/// A stream in the middle of an answer.
async fn begun(live: &Live, key: &Key, method: &str, path: &str, body: Option<Value>) -> http::Streaming {
    let mut stream = http::open(live, method, path, body, &[("authorization", &*key.bearer())]).await;
    while !stream.next().await.unwrap().data.contains("half") {}
    stream
}

#[tokio::test]
async fn streams_end_within_seconds_when_their_key_is_revoked_and_others_go_on() {
    let live = Live::new().await;
    let gate = Gate::new();
    live.push((0..4).map(|_| Script::new().text("half").gate(&gate).text(" whole").end()));
    let (ending, staying) = (live.key(json!({})).await, live.key(json!({})).await);
    let with_stream = |mut body: Value| {
        body["stream"] = json!(true);
        Some(body)
    };
    let mut chat = begun(&live, &ending, "POST", "/chat/completions", with_stream(asks("hi"))).await;
    let mut response = begun(&live, &ending, "POST", "/responses", with_stream(says("hi"))).await;
    let mut others = begun(&live, &staying, "POST", "/responses", with_stream(says("hi"))).await;
    let mut socket = Socket::open_as(&live, &ending).await.unwrap();
    socket.create(json!({})).await;
    let id = loop {
        let frame = socket.next().await;
        if frame["type"] == "response.output_text.delta" {
            break socket.id.clone().unwrap();
        }
    };
    let path = format!("/responses/{id}?stream=true");
    let mut again = begun(&live, &ending, "GET", &path, None).await;
    live.revoke(&ending).await;
    let revoked = Instant::now();
    let last = chat.rest().await.pop().unwrap().json();
    assert_eq!(last["error"]["code"], "invalid_api_key", "{last}");
    for stream in [&mut response, &mut again] {
        let last = stream.rest().await.pop().unwrap();
        assert_eq!((last.name.as_deref(), &last.json()["code"]), (Some("error"), &json!("invalid_api_key")));
    }
    assert_eq!(socket.close_code().await, Some(4001));
    assert!(revoked.elapsed() < CLOSED, "{:?}", revoked.elapsed());
    gate.open();
    assert_eq!(others.rest().await.pop().unwrap().json()["type"], "response.completed");
    // What was stored went on without its client, and the administrator can read it.
    let completed = async {
        while live.get(&format!("/responses/{id}")).await.ok()["status"] != "completed" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::SOON, completed).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_a_whole_answer_is_told_that_the_key_ended() {
    let live = Live::new().await;
    for (path, body) in [("/chat/completions", asks("hi")), ("/responses", says("hi"))] {
        let gate = Gate::new();
        live.push([Script::new().gate(&gate).text("late").end()]);
        let key = live.key(json!({})).await;
        let revoke = async {
            gate.reached().await;
            live.revoke(&key).await;
        };
        let (reply, ()) = tokio::join!(live.ask(&key, "POST", path, Some(body)), revoke);
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (401, &json!("invalid_api_key")),
            "{path}"
        );
        gate.open();
    }
}
