//! F03: nothing about an input leaves the server before the log that holds it was flushed.
//!
//! A kill never shows this, since what was written survives in the kernel. The order of system calls does.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    time::Duration,
};

use super::{
    Campaign, Outcome, Verdict,
    load::Talkers,
    place::Place,
    strace::{self, Call, calls, traced},
    wait::{Chance, pause, wait_for},
};
use crate::shell::Failed;

const CLIENTS: usize = 4;
/// Enough of each write to see a whole page.
const TRACE: &[&str] = &["-y", "-s", "4200", "-e", "trace=pwrite64,fdatasync,fsync,write,sendto,writev"];
/// A disk that says it flushed and did not.
const LYING: &[&str] = &["-e", "inject=fdatasync,fsync:retval=0"];
/// How every input's id begins.
const ID: &str = "inp_";

pub(super) fn no_ack_before_its_flush(campaign: &Campaign) -> Outcome {
    if let Some(reason) = strace::missing() {
        return Ok(Verdict::Skipped(reason));
    }
    let length = Duration::from_secs(if campaign.short { 3 } else { 120 });
    let honest = trace(campaign, length, &[])?;
    if let Some(first) = honest.early.first() {
        let count = honest.early.len();
        return Err(Failed::new(format!("{count} inputs left before their flush, the first {first}")));
    }
    if honest.sent < 20 || honest.unseen * 20 > honest.sent {
        return Err(Failed::new(format!("the trace shows too little: {honest:?}")));
    }
    // The same with flushes that do nothing: if that is not seen, nothing would be.
    let lying = trace(campaign, Duration::from_secs(1), LYING)?;
    if lying.early.len() + lying.unseen < lying.sent || lying.sent == 0 {
        return Err(Failed::new(format!("flushes were taken away and nobody noticed: {lying:?}")));
    }
    Ok(Verdict::Passed(format!(
        "{} inputs went out, each after its flush; without flushes all {} were seen to be early",
        honest.sent, lying.sent
    )))
}

/// What a trace shows.
#[derive(Debug, Default)]
struct Order {
    /// Inputs of which clients were told.
    sent: usize,
    /// Of these, those no write to the log shows.
    unseen: usize,
    /// Of these, those that were told before a flush.
    early: Vec<String>,
}

fn trace(campaign: &Campaign, length: Duration, inject: &[&str]) -> Result<Order, Failed> {
    let place = Place::new(campaign)?;
    let log = place.path().join("trace");
    let (server, api) = place.serve_as(&traced(&log, &[TRACE, inject].concat()))?;
    let mut talkers = Talkers::new(&api, CLIENTS, &mut Chance::new(campaign.seed))?;
    // Somebody follows each session, so that events leave too.
    let followers: Result<Vec<_>, _> = talkers.sessions().map(|session| api.follow(session, None)).collect();
    let followers = followers.map_err(|e| Failed::new(e.to_string()))?;
    talkers.talk_during(&api, || pause(length))?;
    drop(followers);
    let acked = talkers.acked();
    server.kill();
    let text = whole(&log)?;
    let order = order(&calls(&text));
    match order.sent >= acked {
        true => Ok(order),
        false => {
            Err(Failed::new(format!("{acked} inputs were acknowledged, the trace shows {}", order.sent)))
        }
    }
}

/// The trace, once the tracer has written all of it.
fn whole(log: &Path) -> Result<String, Failed> {
    let mut before = 0;
    wait_for(Duration::from_secs(10), || {
        pause(Duration::from_millis(200));
        let length = fs::metadata(log).map_or(0, |file| file.len());
        let is_done = length == before && length > 0;
        before = length;
        is_done.then_some(())
    });
    let bytes = fs::read(log).map_err(|e| Failed::new(format!("the trace: {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn order(calls: &[Call<'_>]) -> Order {
    let is_log = |call: &&Call<'_>| call.arguments.contains("moongate.db-wal>");
    let mut written: HashMap<&str, usize> = HashMap::new();
    for call in calls.iter().filter(|call| call.name == "pwrite64").filter(is_log) {
        for id in ids(call.arguments) {
            written.entry(id).or_insert(call.ended.map_or(usize::MAX, |(line, _)| line));
        }
    }
    let is_flush = |call: &&Call<'_>| matches!(call.name, "fdatasync" | "fsync");
    let flushes: Vec<(usize, usize)> = calls
        .iter()
        .filter(is_flush)
        .filter(is_log)
        .filter_map(|call| call.ended.filter(|(_, result)| *result == "0").map(|(end, _)| (call.began, end)))
        .collect();
    let mut order = Order::default();
    let mut seen = BTreeSet::new();
    for call in calls.iter().filter(|call| is_sent(call)) {
        for id in ids(call.arguments) {
            if !seen.insert(id) {
                continue;
            }
            order.sent += 1;
            match written.get(id) {
                None => order.unseen += 1,
                Some(written) => {
                    let covers = |(began, ended): &(usize, usize)| began >= written && *ended <= call.began;
                    if !flushes.iter().any(covers) {
                        order.early.push(id.to_owned());
                    }
                }
            }
        }
    }
    order
}

/// Whether a call sends something to a client.
fn is_sent(call: &Call<'_>) -> bool {
    let to = call.arguments.split(',').next().unwrap_or_default();
    matches!(call.name, "sendto" | "write" | "writev") && (to.contains("<TCP") || to.contains("<socket:"))
}

/// The ids of inputs in a text.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(ID).filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let unique = rest.get(ID.len()..)?;
        let length = unique.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit())?;
        rest.get(..ID.len() + length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"1 pwrite64(5</d/moongate.db-wal>, "{\"input\":\"inp_a1\"}", 4096, 32) = 4096"#;
    const FLUSH: &str = "1 fdatasync(5</d/moongate.db-wal>) = 0";
    const ACK: &str = r#"2 sendto(9<TCP:[1->2]>, "{\"input\":\"inp_a1\"}", 99, 0, NULL, 0) = 99"#;

    fn early(lines: &[&str]) -> usize {
        let text = lines.join("\n");
        let order = order(&calls(&text));
        assert_eq!((order.sent, order.unseen), (1, 0));
        order.early.len()
    }

    #[test]
    fn an_ack_before_its_flush_is_found() {
        assert_eq!(early(&[WRITE, FLUSH, ACK]), 0);
        assert_eq!(early(&[WRITE, ACK, FLUSH]), 1);
        assert_eq!(early(&[FLUSH, WRITE, ACK]), 1, "the flush of what was before");
        assert_eq!(early(&[WRITE, &format!("{FLUSH} (INJECTED)"), ACK]), 1, "a flush that was none");
        let (begun, done) =
            ("1 fdatasync(5</d/moongate.db-wal> <unfinished ...>", "1 <... fdatasync resumed>) = 0");
        assert_eq!(early(&[WRITE, begun, ACK, done]), 1, "a flush that was not over");
        assert_eq!(early(&[WRITE, begun, done, ACK]), 0);
        assert_eq!(early(&[WRITE, "1 fdatasync(6</d/moongate.db>) = 0", ACK]), 1, "of another file");
    }
}
