//! One session, every door: whoever looks sees the same.

use moongate_protocol::StopReason;
use moongate_testkit::{Gate, Script};
use serde_json::{Value, json};

use crate::{
    Door, completions, construct,
    kit::{Kit, soon},
    native, orra, oxios, responses,
    scenario::{Client, Watches as _},
    shown::{Ending, Outcome, Shown, Tool},
};

/// A turn that thinks, talks, asks a person, and stops in the middle of its answer.
fn script(gate: &Gate) -> ([Script; 2], Shown) {
    let arguments = json!({"to": "ann"});
    let asks = Script::new().reasoning("Hm.", None).text("I send.").call("send", &arguments);
    let asks = asks.usage(10, 5).finish(StopReason::ToolUse);
    let ends = Script::new().text("Sent ").gate(gate).text("it.").usage(20, 3).end();
    let outcome = Some(Outcome::Ok("done".into()));
    let shown = Shown {
        text: "I send.\n\nSent it.".into(),
        reasoning: "Hm.".into(),
        tools: vec![Tool { name: "send".into(), arguments, outcome }],
        usage: Some((30, 8)),
        ending: Ending::Completed,
        ..Shown::default()
    };
    ([asks, ends], shown)
}

/// The only session there is.
async fn only_session(kit: &Kit) -> String {
    let list = kit.line.ask("GET", "/api/v1/sessions", &Value::Null).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    list["items"][0]["id"].as_str().unwrap().to_owned()
}

/// A client of one door sets a turn off; clients of the doors that can reach its session come while it asks and
/// while it writes, and one of them answers.
pub(crate) async fn watched(kit: &Kit, door: Door, mut says: impl Client) {
    let gate = Gate::new();
    let (scripts, expected) = script(&gate);
    kit.gateway.model().push(scripts);
    says.say("go").await;
    says.asked().await;
    let session = only_session(kit).await;
    let mut events = native::Streams::within(&kit.line, session.clone());
    events.follow().await;
    let mut socket = native::Socket::within(&kit.line, session.clone()).await;
    let mut ui = oxios::Client::new(kit, &session).await;
    ui.resume().await;
    ui.asked().await;
    ui.decide(true).await;
    soon(gate.reached()).await;
    let mut late = oxios::Client::new(kit, &session).await;
    late.resume().await;
    let mut late_events = native::Streams::within(&kit.line, session.clone());
    late_events.follow().await;
    gate.open();
    assert_eq!(says.shown().await, expected.as_seen(door.shows()), "{door:?} itself");
    for (name, shown) in [
        ("native events", events.shown().await),
        ("native events, late", late_events.shown().await),
        ("native socket", socket.shown().await),
        ("oxios", ui.shown().await),
        ("oxios, late", late.shown().await),
    ] {
        assert_eq!(shown, expected, "{name} beside {door:?}");
    }
}

#[tokio::test]
async fn every_door_says_something_in_one_session_and_one_who_follows_sees_it_all() {
    let kit = Kit::new().await;
    let session = native::session(&kit.line).await;
    kit.gateway.model().push(["1", "2", "3", "4"].map(Script::says));
    let mut follows = native::Socket::within(&kit.line, session.clone()).await;
    let mut native = native::Streams::within(&kit.line, session.clone());
    let mut oxios = oxios::Client::new(&kit, &session).await;
    let mut completions = completions::Client::new(&kit, &session);
    let mut responses = responses::Client::within(&kit.line, &session);
    let mut shown = Vec::new();
    native.say("a").await;
    shown.push(native.shown().await);
    oxios.say("b").await;
    shown.push(oxios.shown().await);
    completions.say("c").await;
    shown.push(completions.shown().await);
    responses.say("d").await;
    shown.push(responses.shown().await);
    let texts: Vec<_> = shown.iter().map(|shown| shown.text.as_str()).collect();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    for said in shown {
        assert_eq!(follows.shown().await, said);
    }
    kit.stop().await;
}

/// A turn that is seen by two more clients of a door whose sessions are reached by the names of that door only: one that
/// comes while the agent asks, and one that comes while it writes.
async fn seen_by_two_more<C: Client>(
    kit: &Kit,
    mut says: C,
    another: impl AsyncFn(&'static str) -> C,
) -> [Shown; 3] {
    let gate = Gate::new();
    kit.gateway.model().push(script(&gate).0);
    says.say("go").await;
    says.asked().await;
    let mut second = another("I send.").await;
    second.asked().await;
    second.decide(true).await;
    soon(gate.reached()).await;
    let mut late = another("Sent ").await;
    gate.open();
    [says.shown().await, second.shown().await, late.shown().await]
}

#[tokio::test]
async fn clients_of_orra_that_come_later_see_the_same() {
    let kit = Kit::new().await;
    let subscribed = async |text| {
        let mut client = orra::Client::new(&kit, "talk").await;
        client.subscribe().await;
        client.until(text).await;
        client
    };
    let shown = seen_by_two_more(&kit, orra::Client::new(&kit, "talk").await, subscribed).await;
    let expected = script(&Gate::new()).1;
    for (who, shown) in ["who says it", "who answers", "who comes late"].into_iter().zip(shown) {
        assert_eq!(shown, expected, "{who}");
    }
    kit.stop().await;
}

#[tokio::test]
async fn clients_of_construct_that_come_later_see_the_same() {
    let kit = Kit::new().await;
    let joined = async |text| {
        let mut client = construct::Client::new(&kit, "talk").await;
        client.until(text).await;
        client
    };
    let shown = seen_by_two_more(&kit, joined("").await, joined).await;
    let mut expected = script(&Gate::new()).1;
    for (who, shown) in ["who says it", "who answers", "who comes late"].into_iter().zip(shown) {
        if who == "who comes late" {
            // It is told what was said before in one piece.
            expected.text = expected.text.replace("\n\n", "");
        }
        assert_eq!(shown, expected, "{who}");
    }
    kit.stop().await;
}
