//! `GET /responses/{id}?stream=true&starting_after=N`: exact wherever a client was cut, and after a restart.

use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};

use super::{Live, http, weather_flat};

async fn replay(live: &Live, id: &str, after: Option<u64>) -> Vec<Value> {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let path = format!("/responses/{id}?stream=true{after}");
    let mut stream = http::open(live, "GET", &path, None, &[]).await;
    assert_eq!(stream.head.status, 200);
    stream.rest().await.iter().map(http::Event::json).collect()
}

fn number(event: &Value) -> u64 {
    event["sequence_number"].as_u64().unwrap()
}

/// The text and the arguments a client that follows the events has at the end.
fn written(events: &[Value]) -> (String, String) {
    let pieces = |kind: &str| {
        let deltas = events.iter().filter(|event| event["type"] == kind);
        deltas.map(|event| event["delta"].as_str().unwrap()).collect()
    };
    (pieces("response.output_text.delta"), pieces("response.function_call_arguments.delta"))
}

#[tokio::test]
async fn a_client_cut_after_any_event_goes_on_exactly_there() {
    let live = Live::new().await;
    let thinks = moongate_core::Piece::Reasoning("hm, 世界".into());
    let done = moongate_core::Piece::ReasoningEnd { signature: None };
    let script = Script::new().piece(thinks).piece(done).text("Hé").text("llo ").text("世界!");
    live.push([script.call("weather", &json!({"city": "Oslo"})).usage(3, 4).end()]);
    let body = json!({"model": "moongate/main", "input": "hi", "stream": true, "tools": [weather_flat()]});
    let shown: Vec<Value> =
        live.stream("/responses", body).await.rest().await.iter().map(http::Event::json).collect();
    let id = shown[0]["response"]["id"].as_str().unwrap();
    assert_eq!(written(&shown).0, "Héllo 世界!");
    for cut in 0..shown.len() {
        let seen = &shown[..=cut];
        let rest = replay(&live, id, Some(number(&shown[cut]))).await;
        assert!(rest.iter().all(|event| number(event) > number(&shown[cut])), "nothing comes twice");
        let all = [seen, &rest].concat();
        assert_eq!(written(&all), written(&shown), "cut after {}", shown[cut]["type"]);
        let marks = |events: &[Value]| -> Vec<(Value, u64)> {
            let marks = events.iter().filter(|event| !event["type"].as_str().unwrap().ends_with(".delta"));
            marks.map(|event| (event["type"].clone(), number(event))).collect()
        };
        assert_eq!(marks(&all), marks(&shown));
        assert_eq!(all.last(), shown.last());
    }
    let whole = replay(&live, id, None).await;
    assert_eq!((written(&whole), whole.last()), (written(&shown), shown.last()));
    // Between two characters that came in one piece.
    for seen in 0..number(shown.last().unwrap()) {
        let rest = replay(&live, id, Some(seen)).await;
        assert!(written(&shown).0.ends_with(&written(&rest).0));
    }
}

#[tokio::test]
async fn a_client_that_comes_back_in_the_middle_sees_the_rest_live() {
    let live = Live::new().await;
    let gate = Gate::new();
    live.push([Script::new().text("Hello ").gate(&gate).text("world").end()]);
    let body = json!({"model": "moongate/main", "input": "hi", "stream": true, "background": true});
    let mut stream = live.stream("/responses", body).await;
    let mut seen = Vec::new();
    while written(&seen).0 != "Hello " {
        seen.push(stream.next().await.unwrap().json());
    }
    drop(stream);
    let id = seen[0]["response"]["id"].as_str().unwrap().to_owned();
    let path = format!("/responses/{id}?stream=true&starting_after={}", number(seen.last().unwrap()) - 3);
    let mut back = http::open(&live, "GET", &path, None, &[]).await;
    let first = back.next().await.unwrap().json();
    assert_eq!(first["delta"], "lo ", "from the very character");
    gate.open();
    let mut rest = vec![first];
    rest.extend(back.rest().await.iter().map(http::Event::json));
    assert_eq!(written(&rest).0, "lo world");
    assert_eq!(rest.last().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn a_restart_in_the_middle_is_a_pause_with_the_unfinished_item_written_anew() {
    let mut live = Live::new().await;
    let gate = Gate::new();
    live.push([Script::new().text("Hello ").gate(&gate).text("never").end(), Script::says("Hello again")]);
    let body = json!({"model": "moongate/main", "input": "hi", "stream": true, "background": true});
    let mut stream = live.stream("/responses", body).await;
    let mut seen = Vec::new();
    while written(&seen).0 != "Hello " {
        seen.push(stream.next().await.unwrap().json());
    }
    let id = seen[0]["response"]["id"].as_str().unwrap().to_owned();
    let last = number(seen.last().unwrap());
    live.restart().await;
    let rest = replay(&live, &id, Some(last)).await;
    assert!(rest.iter().all(|event| number(event) > last));
    assert_eq!(
        (rest[0]["type"].as_str(), rest[0]["output_index"].as_u64()),
        (Some("response.output_item.added"), Some(0))
    );
    assert_eq!(written(&rest).0, "Hello again");
    let end = rest.last().unwrap();
    assert_eq!(end["type"], "response.completed");
    assert_eq!(end["response"]["output"][0]["content"][0]["text"], "Hello again");
    // And once more, from everywhere, after everything.
    live.restart().await;
    for event in &rest {
        let again = replay(&live, &id, Some(number(event))).await;
        assert!(written(&rest).0.ends_with(&written(&again).0));
        assert!(again.last().is_none_or(|last| last == end));
    }
    assert_eq!(live.get(&format!("/responses/{id}")).await.ok(), end["response"]);
}
