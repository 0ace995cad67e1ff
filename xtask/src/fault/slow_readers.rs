//! F14: clients that stop reading while long answers stream. The others get everything at once, memory stays
//! bounded, the server lets go of those who do not read, and who comes back misses nothing.

use std::time::{Duration, Instant};

use super::{
    Campaign, Outcome, Verdict,
    api::{Api, Stream},
    ledger::Ledger,
    place::Place,
    view::View,
    wait::wait_for,
};
use crate::shell::Failed;

/// A turn of about a megabyte, and how many of them.
const TURN: &str = "/long 100000";
const TURNS: usize = 12;
/// How long the server may wait for those who do not read: its bound of 30 seconds, and a margin.
const LET_GO_MOST: Duration = Duration::from_secs(60);
/// Where the server counts those it let go.
const LET_GO: &str = "moongate_stalled_clients_total";
/// How long one such turn may take a reader that keeps up.
const TURN_MOST: Duration = Duration::from_secs(20);
/// What one stalled client may cost beyond its share of what is running, in KiB: its follower's bound, and a
/// message that is being sent.
const EACH_KIB: u64 = 4 * 1024 + 2 * 1024;
/// What the answers themselves may cost, in KiB.
const BESIDE_KIB: u64 = 128 * 1024;

pub(super) fn slow_readers_harm_nobody(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let (server, api) = place.serve()?;
    let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
    let count = campaign.rounds(20, 200);
    let before = server.resident_kib();
    let stalled: Result<Vec<Stream>, _> = (0..count).map(|_| api.follow(&session, None)).collect();
    let stalled = stalled.map_err(|e| Failed::new(e.to_string()))?;
    let mut reader = api.follow(&session, None).map_err(|e| Failed::new(e.to_string()))?;
    let (mut view, mut ledger) = (View::default(), Ledger::default());
    let (mut slowest, mut most_kib) = (Duration::ZERO, before);
    for turn in 1..=TURNS {
        let began = Instant::now();
        ledger.say(&api, &session, &format!("turn-{turn}"), TURN)?;
        while view.ended_turns < turn {
            let frame = reader.next().map_err(|e| server.fault(&format!("a healthy reader: {e}")))?;
            view.take(frame.ok_or_else(|| server.fault("a healthy reader was disconnected"))?);
            most_kib = most_kib.max(server.resident_kib());
        }
        slowest = slowest.max(began.elapsed());
    }
    let tally = ledger.settle_and_verify(&api)?;
    let log = api.log(&session).map_err(|e| Failed::new(e.to_string()))?;
    view.verify(&log)?;
    let grown = most_kib.saturating_sub(before);
    let bound = EACH_KIB * count as u64 + BESIDE_KIB;
    if slowest > TURN_MOST || grown > bound {
        return Err(Failed::new(format!(
            "beside {count} stalled readers a turn took {slowest:?} and memory grew by {grown} KiB of {bound}"
        )));
    }
    let let_go = || api.counter(LET_GO).ok().filter(|let_go| *let_go >= count as u64);
    if wait_for(LET_GO_MOST, let_go).is_none() {
        let so_far = api.counter(LET_GO).map_err(|e| Failed::new(e.to_string()))?;
        return Err(Failed::new(format!(
            "of {count} who do not read {so_far} were let go in {LET_GO_MOST:?}"
        )));
    }
    let mut cut = 0;
    for stream in stalled {
        cut += usize::from(catch_up(&api, &session, stream, &log)?);
    }
    if cut < count {
        return Err(Failed::new(format!("of {count} who were let go {cut} noticed")));
    }
    server.stop()?;
    Ok(Verdict::Passed(format!(
        "{count} stalled readers were disconnected and caught up, the slowest turn of another {} ms, memory \
         {} MiB more; {tally}",
        slowest.as_millis(),
        grown / 1024
    )))
}

/// Reads what a stalled client was left with, and the rest on a new connection; whether it had been cut off.
fn catch_up(api: &Api, session: &str, mut stream: Stream, log: &[serde_json::Value]) -> Result<bool, Failed> {
    let (mut view, mut cut) = (View::default(), false);
    while view.events.len() < log.len() {
        match stream.next() {
            Ok(Some(frame)) => view.take(frame),
            Ok(None) | Err(_) if cut => return Err(Failed::new("a client that came back was cut off")),
            Ok(None) | Err(_) => {
                cut = true;
                let again = api.follow(session, view.position().as_deref());
                stream = again.map_err(|e| Failed::new(format!("coming back: {e}")))?;
            }
        }
    }
    view.verify(log).map(|()| cut)
}
