//! The ledger: what a client was promised, kept outside the gateway, and held against the logs afterwards.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, io,
    time::Duration,
};

use serde_json::Value;

use super::{
    api::{Answer, Api},
    wait::wait_for,
};
use crate::shell::Failed;

/// How long a turn that was accepted may take to end once the server runs again.
const SETTLED: Duration = Duration::from_secs(60);
/// Of the acknowledged inputs every so many is sent again, to see that the answer stays.
const SENT_AGAIN: usize = 5;
/// Violations that are told.
const SHOWN: usize = 5;

/// What was said to a gateway, by idempotency key.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    session: String,
    text: String,
    ack: Option<Ack>,
}

/// A promise.
#[derive(Clone, Debug, PartialEq)]
struct Ack {
    input: Value,
    position: Value,
}

/// How saying something went.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Acked,
    Refused(u16, String),
    /// The connection broke: nobody knows.
    Lost,
}

/// What was found and held against the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sessions: usize,
    pub(super) acked: usize,
    pub(super) turns: usize,
    pub(super) events: usize,
}

impl Ledger {
    /// Says something; the key tells it from everything else that was ever said.
    pub(super) fn say(&mut self, api: &Api, session: &str, key: &str, text: &str) -> Result<Said, Failed> {
        let entry = Entry { session: session.to_owned(), text: text.to_owned(), ack: None };
        self.0.insert(key.to_owned(), entry);
        self.send(api, key)
    }

    /// Sends an input, again if it was sent before. The same key must get the same answer.
    fn send(&mut self, api: &Api, key: &str) -> Result<Said, Failed> {
        let Some(entry) = self.0.get_mut(key) else {
            return Err(Failed::new(format!("nothing under {key}")));
        };
        match api.submit(&entry.session, key, &entry.text) {
            Ok(Answer { status: 202, body }) => {
                let ack = Ack { input: body["input"].clone(), position: body["position"].clone() };
                match &entry.ack {
                    Some(before) if *before != ack => {
                        Err(Failed::new(format!("{key} was acknowledged as {before:?} and then as {ack:?}")))
                    }
                    _ => {
                        entry.ack = Some(ack);
                        Ok(Said::Acked)
                    }
                }
            }
            Ok(answer) => {
                let code = answer.body["error"]["code"].as_str().unwrap_or_default().to_owned();
                Ok(Said::Refused(answer.status, code))
            }
            Err(_) => Ok(Said::Lost),
        }
    }

    pub(super) fn acked(&self) -> usize {
        self.0.values().filter(|entry| entry.ack.is_some()).count()
    }

    /// The same, as if only these had been acknowledged.
    pub(super) fn promising(&self, keys: &BTreeSet<String>) -> Self {
        let promised = |(key, entry): (&String, &Entry)| {
            let ack = entry.ack.clone().filter(|_| keys.contains(key));
            (key.clone(), Entry { ack, ..entry.clone() })
        };
        Self(self.0.iter().map(promised).collect())
    }

    /// Sends what was not answered until it is, and some of the rest again.
    pub(super) fn settle(&mut self, api: &Api) -> Result<(), Failed> {
        let keys: Vec<(String, bool)> =
            self.0.iter().map(|(key, entry)| (key.clone(), entry.ack.is_some())).collect();
        for (number, (key, is_acked)) in keys.iter().enumerate() {
            if *is_acked && number % SENT_AGAIN != 0 {
                continue;
            }
            let mut last = Ok(Said::Lost);
            let answered = wait_for(SETTLED, || {
                last = self.send(api, key);
                matches!(last, Ok(Said::Acked) | Err(_)).then_some(())
            });
            match (answered, last?) {
                (Some(()), _) => {}
                (None, last) => return Err(Failed::new(format!("{key} is not taken: {last:?}"))),
            }
        }
        Ok(())
    }

    /// Waits until every turn has ended, and holds the logs against what was promised.
    pub(super) fn verify(&self, api: &Api) -> Result<Tally, Failed> {
        let mut by_session: BTreeMap<&str, BTreeMap<&str, &Entry>> = BTreeMap::new();
        for (key, entry) in &self.0 {
            by_session.entry(&entry.session).or_default().insert(key, entry);
        }
        let (mut tally, mut wrong) = (Tally::default(), Vec::new());
        for (session, entries) in by_session {
            let is_promised = entries.values().any(|entry| entry.ack.is_some());
            if !is_promised && api.get(&format!("/api/v1/sessions/{session}")).is_ok_and(|a| a.status == 404)
            {
                continue;
            }
            let mut log = Err(io::Error::other("not asked"));
            wait_for(SETTLED, || {
                log = api.log(session);
                log.as_ref().map_or(true, |log| is_settled(log)).then_some(())
            });
            let log = log.map_err(|e| Failed::new(format!("{session} cannot be read: {e}")))?;
            wrong.extend(violations(&log, &entries).into_iter().map(|what| format!("{session}: {what}")));
            tally.add(&log, &entries);
        }
        verdict(&wrong).map(|()| tally)
    }

    /// Recovers as clients do: sends again what was not answered, then verifies.
    pub(super) fn settle_and_verify(&mut self, api: &Api) -> Result<Tally, Failed> {
        self.settle(api)?;
        self.verify(api)
    }
}

impl Tally {
    fn add(&mut self, log: &[Value], entries: &BTreeMap<&str, &Entry>) {
        self.sessions += 1;
        self.acked += entries.values().filter(|entry| entry.ack.is_some()).count();
        self.turns += of_type(log, "turn.started").count();
        self.events += log.len();
    }

    pub(super) fn join(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.acked += other.acked;
        self.turns += other.turns;
        self.events += other.events;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, acked, turns, events } = self;
        write!(f, "{acked} acknowledged in {sessions} sessions, {turns} turns, {events} events: all there")
    }
}

fn verdict(wrong: &[String]) -> Result<(), Failed> {
    match wrong.len() {
        0 => Ok(()),
        count => {
            let first: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
            Err(Failed::new(format!("{count} violations: {}", first.join("; "))))
        }
    }
}

/// Whether an event ends a turn.
pub(super) fn ends_turn(event: &Value) -> bool {
    matches!(event["type"].as_str(), Some("turn.completed" | "turn.failed" | "turn.cancelled"))
}

fn of_type<'a>(log: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    log.iter().filter(move |event| event["type"] == kind)
}

/// Whether every input has its turn and every turn its end.
fn is_settled(log: &[Value]) -> bool {
    let started: Vec<&Value> = of_type(log, "turn.started").collect();
    let taken: usize = started.iter().map(|turn| turn["inputs"].as_array().map_or(0, Vec::len)).sum();
    let ended = log.iter().filter(|event| ends_turn(event)).count();
    taken >= of_type(log, "input.accepted").count() && ended >= started.len()
}

/// What a log does not keep of what was promised.
fn violations(log: &[Value], entries: &BTreeMap<&str, &Entry>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (expected, event) in (1_u64..).zip(log) {
        if event["seq"] != expected || event["epoch"] != log[0]["epoch"] {
            wrong.push(format!("event {expected} is {}.{}", event["epoch"], event["seq"]));
            break;
        }
    }
    let mut accepted: HashMap<&str, &Value> = HashMap::new();
    for event in of_type(log, "input.accepted") {
        let key = event["idempotency_key"].as_str().unwrap_or_default();
        if !entries.contains_key(key) {
            wrong.push(format!("nobody said {event}"));
        }
        if accepted.insert(key, event).is_some() {
            wrong.push(format!("{key} is there twice"));
        }
    }
    for (key, entry) in entries {
        let Some(ack) = &entry.ack else { continue };
        match accepted.get(key) {
            None => wrong.push(format!("lost: {key}, acknowledged as {ack:?}")),
            Some(event) if !is_kept(event, entry, ack) => {
                wrong.push(format!("changed: {key}, acknowledged as {ack:?}, is {event}"));
            }
            Some(_) => {}
        }
    }
    wrong.extend(wrong_turns(log));
    wrong
}

/// Whether an input is where it was acknowledged, with the very words.
fn is_kept(event: &Value, entry: &Entry, ack: &Ack) -> bool {
    let words = event["parts"][0]["text"].as_str();
    let place = (&event["seq"], &event["epoch"]) == (&ack.position["seq"], &ack.position["epoch"]);
    place && event["input"] == ack.input && words == Some(&entry.text)
}

/// Each input has one turn, and each turn one end, which is its last event.
fn wrong_turns(log: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut open = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for event in log {
        let Some(turn) = event["turn"].as_str() else { continue };
        if event["type"] == "turn.started" {
            open.insert(turn);
            for input in event["inputs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !taken.insert(input) {
                    wrong.push(format!("{input} has two turns"));
                }
            }
        } else if !open.contains(turn) {
            wrong.push(format!("{turn} goes on after its end: {event}"));
        }
        if ends_turn(event) {
            open.remove(turn);
        }
    }
    wrong.extend(open.iter().map(|turn| format!("{turn} has no end")));
    let inputs = of_type(log, "input.accepted").filter_map(|event| event["input"].as_str());
    wrong.extend(inputs.filter(|input| !taken.contains(input)).map(|input| format!("{input} has no turn")));
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log() -> Vec<Value> {
        let events = [
            json!({ "type": "session.created" }),
            json!({ "type": "input.accepted", "input": "i", "idempotency_key": "k", "parts": [{ "text": "hi" }] }),
            json!({ "type": "turn.started", "turn": "t", "inputs": ["i"] }),
            json!({ "type": "turn.completed", "turn": "t" }),
        ];
        let number = |(seq, mut event): (u64, Value)| {
            event["seq"] = json!(seq);
            event["epoch"] = json!("e");
            event
        };
        (1..).zip(events).map(number).collect()
    }

    fn found(log: &[Value], text: &str, seq: u64) -> Vec<String> {
        let ack = Ack { input: json!("i"), position: json!({ "epoch": "e", "seq": seq }) };
        let entry = Entry { session: "s".into(), text: text.into(), ack: Some(ack) };
        violations(log, &BTreeMap::from([("k", &entry)]))
    }

    #[test]
    fn a_log_that_keeps_its_promises_is_clean() {
        assert!(is_settled(&log()));
        assert_eq!(found(&log(), "hi", 2), Vec::<String>::new());
    }

    #[test]
    fn every_broken_promise_is_found() {
        assert_eq!(found(&log(), "ho", 2).len(), 1, "other words");
        assert_eq!(found(&log(), "hi", 3).len(), 1, "another place");
        assert_eq!(found(&log()[..1], "hi", 2).len(), 1, "lost");
        assert_eq!(found(&log()[..3], "hi", 2), ["t has no end"]);
        assert!(!is_settled(&log()[..3]));
        let mut gap = log();
        gap.remove(2);
        assert!(found(&gap, "hi", 2).iter().any(|what| what.starts_with("event 3")));
        let mut twice = log();
        twice.push(json!({ "seq": 5, "epoch": "e", "type": "turn.failed", "turn": "t" }));
        assert!(found(&twice, "hi", 2)[0].contains("goes on after its end"));
    }
}
