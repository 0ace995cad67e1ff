//! Two principals who call their sessions the same.

use moongate_protocol::Effect;
use moongate_testkit::{Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::{
    hooks::{Events, hook},
    kit::{Chat, Kit, MOUNTS},
};

/// Rounds of both, and calls of each turn: more than 10 000 events in the logs and on the streams.
const ROUNDS: usize = 20;
const CALLS: usize = 64;

/// One of the two, with everything it can look at.
struct Person {
    mark: &'static str,
    key: String,
    chats: Vec<Chat>,
    events: Events,
}

impl Person {
    async fn new(kit: &Kit, mark: &'static str) -> Self {
        let key = kit.key_of(mark).await.1;
        let mut chats = Vec::new();
        for id in SESSIONS {
            let mut chat = kit.chat_as(&key, &format!("session_id={id}&name={mark}-{id}")).await;
            chat.next().await;
            chats.push(chat);
        }
        let events = Events::open(kit, &key, None).await;
        Self { mark, key, chats, events }
    }

    /// A turn with calls in one of the sessions, told through a socket or a webhook.
    async fn says(&mut self, kit: &Kit, dice: u64) {
        let calls: Vec<_> =
            (0..CALLS).map(|n| ("look", json!({ "at": format!("{}-{n}", self.mark) }))).collect();
        kit.scripts([Script::calls(&calls), Script::says(&format!("{} says", self.mark))]);
        let at = usize::try_from(dice).unwrap() % SESSIONS.len();
        let text = format!("{}-asks", self.mark);
        if dice.is_multiple_of(3) {
            let headers = [("x-session-id", SESSIONS[at])];
            let got = hook(kit, &self.key, &headers, json!({ "message": text })).await;
            assert_eq!(got.status, 200, "{got:?}");
        } else {
            self.chats[at].message(&text).await;
            let frames = self.chats[at].until("done").await;
            self.owns("frames", &Value::Array(frames));
        }
    }

    /// Nothing of the other one is in it.
    fn owns(&self, what: &str, value: &Value) {
        let other = if self.mark == "bob" { "eve-" } else { "bob-" };
        let text = value.to_string();
        let shown: String = text.chars().take(2_000).collect();
        assert!(!text.contains(other), "{what} of {} have {other}: {shown}", self.mark);
    }
}

/// What both call their sessions.
const SESSIONS: [&str; 3] = ["s-1", "s-2", "work"];

#[tokio::test]
async fn c07_of_ten_thousand_events_none_is_shown_to_the_other_principal() {
    for mount in MOUNTS {
        let setup = Setup::default().tool(ScriptedTool::new("look", Effect::Read));
        let kit = Kit::with(mount, setup, |settings| settings.limits.inputs_per_minute = 100_000).await;
        let mut people = [Person::new(&kit, "bob").await, Person::new(&kit, "eve").await];
        let mut dice = 7_u64;
        for _ in 0..ROUNDS {
            for person in &mut people {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                person.says(&kit, dice >> 33).await;
            }
        }
        for person in &mut people {
            let mut ended = 0;
            while ended < ROUNDS {
                let (_, event) = person.events.next().await;
                ended += usize::from(event["type"] == "agent_end");
                person.owns("events", &event);
            }
            look_everywhere(&kit, person).await;
        }
    }
}

async fn look_everywhere(kit: &Kit, person: &mut Person) {
    let get = async |path: String| {
        let got = kit.ask_as(&person.key, "GET", &path, None).await;
        assert_eq!(got.status, 200, "{path}: {got:?}");
        got.body
    };
    for id in SESSIONS {
        for rest in ["", "/messages", "/messages?detail=full", "/state"] {
            person.owns(rest, &get(format!("/api/sessions/{id}{rest}")).await);
        }
    }
    for path in ["/api/sessions/running", "/api/devices", "/admin/paircode", "/api/status", "/api/health"] {
        person.owns(path, &get(path.to_owned()).await);
    }
    let sessions = get("/api/sessions".to_owned()).await;
    person.owns("sessions", &sessions);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), SESSIONS.len());
    let rows: u64 = sessions["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["message_count"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 2 * ROUNDS as u64);
    let cost = get("/api/cost".to_owned()).await;
    assert_eq!(cost["cost"]["request_count"], 2 * ROUNDS, "two model calls a turn");
    let mut seen = 0;
    let mut path = "/api/events/history?limit=500".to_owned();
    let mut pages = vec![get(path.clone()).await];
    let first = pages[0]["events"][0]["cursor"].as_str().unwrap().to_owned();
    path = format!("/api/events/history?limit=500&after={first}");
    for _ in 0..100 {
        let page = get(path.clone()).await;
        let Some(last) = page["events"].as_array().unwrap().last() else { break };
        path = format!("/api/events/history?limit=500&after={}", last["cursor"].as_str().unwrap());
        seen += page["events"].as_array().unwrap().len();
        pages.push(page);
    }
    assert_eq!(seen, 499, "the pages after the oldest of the newest 500");
    pages.iter().for_each(|page| person.owns("history", page));
    for chat in &mut person.chats {
        let frames = chat.so_far().await;
        for frame in &frames {
            let other = if person.mark == "bob" { "eve-" } else { "bob-" };
            assert!(!frame.to_string().contains(other), "{frame}");
        }
    }
}
