//! F27: the wall clock jumps by a day, forth and back, while turns run. Order, limits and ends do not care.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Campaign, Outcome, Verdict,
    ledger::{Ledger, ends_turn},
    place::{How, Place},
    wait::wait_for,
};
use crate::shell::Failed;

/// Where systems keep the library: in a folder of their own, or in one of the architecture's.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// A turn that runs through several jumps, and where the clock is meanwhile.
const TURN: &str = "/slow 10\n/long 100";
const JUMPS: &[&str] = &["+1d", "-1d", "+0", "+1h", "-1h", "+0"];
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn clock_jumps_change_nothing(campaign: &Campaign) -> Outcome {
    let Some(library) = library() else {
        return Ok(Verdict::Skipped("there is no libfaketime".to_owned()));
    };
    let place = Place::new(campaign)?;
    let clock = place.path().join("clock");
    set(&clock, "+0")?;
    let environment = vec![
        ("LD_PRELOAD", library.into_os_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.clone().into_os_string()),
        ("FAKETIME_NO_CACHE", OsString::from("1")),
        // A clock that is set leaves the one that only counts alone.
        ("FAKETIME_DONT_FAKE_MONOTONIC", OsString::from("1")),
        ("DONT_FAKE_MONOTONIC", OsString::from("1")),
    ];
    let (server, api) = place.serve_as(&How { environment, ..How::default() })?;
    let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
    let mut ledger = Ledger::default();
    for (number, jump) in (1..).zip(JUMPS) {
        let key = format!("jump-{number}");
        ledger.say(&api, &session, &key, TURN)?;
        let of_turn = |wanted: fn(&Value) -> bool| {
            let log = api.log(&session).unwrap_or_default();
            (log.iter().filter(|event| wanted(event)).count() >= number).then_some(())
        };
        let started = wait_for(PATIENCE, || of_turn(|event| event["type"] == "turn.started"));
        set(&clock, jump)?;
        let ended = started.and_then(|()| wait_for(PATIENCE, || of_turn(ends_turn)));
        ended.ok_or_else(|| server.fault(&format!("the turn during {jump} does not end")))?;
    }
    let tally = ledger.verify(&api)?;
    let log = api.log(&session).map_err(|e| Failed::new(e.to_string()))?;
    let completed = log.iter().filter(|event| event["type"] == "turn.completed").count();
    if completed != JUMPS.len() {
        return Err(Failed::new(format!("of {} turns {completed} were completed", JUMPS.len())));
    }
    let times: Vec<&str> = log.iter().filter_map(|event| event["at"].as_str()).collect();
    if !times.is_sorted() {
        return Err(Failed::new(format!("time runs backwards in the log: {times:?}")));
    }
    let days =
        times.iter().filter_map(|time| time.get(..10)).collect::<std::collections::BTreeSet<_>>().len();
    if days < 2 {
        return Err(Failed::new("the clock did not jump: nothing was tried"));
    }
    server.stop()?;
    place.check()?;
    Ok(Verdict::Passed(format!("{} jumps, the log in order over {days} days; {tally}", JUMPS.len())))
}

fn library() -> Option<PathBuf> {
    let beside = fs::read_dir(LIBRARIES).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    beside.chain([PathBuf::from(LIBRARIES)]).map(|folder| folder.join(LIBRARY)).find(|path| path.is_file())
}

fn set(clock: &Path, to: &str) -> Result<(), Failed> {
    // Written beside and put in place: the server reads it at any moment.
    let next = clock.with_extension("next");
    let written = fs::write(&next, format!("{to}\n")).and_then(|()| fs::rename(&next, clock));
    written.map_err(|e| Failed::cannot(format!("{}: {e}", clock.display())))
}
