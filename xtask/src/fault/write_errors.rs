//! F06: the disk fails to write or flush. From then on nothing is acknowledged, reading goes on, and a restart
//! finds everything that was acknowledged before.

use std::time::Duration;

use super::{
    Campaign, Outcome, Verdict,
    api::Api,
    ledger::{Ledger, Said, Tally},
    place::{Place, Server},
    strace::{self, spread, traced},
};
use crate::shell::Failed;

/// The calls that fail, and the latest of a thread that does. How SQLite flushes is its build's choice.
const KINDS: &[(&str, usize)] = &[("fdatasync,fsync", 60), ("pwrite64", 200)];
/// Inputs after which a fault that was to come must have come.
const INPUTS: usize = 120;
/// Inputs tried on a store that failed.
const TRIED: usize = 5;

pub(super) fn a_failed_write_ends_acknowledging(campaign: &Campaign) -> Outcome {
    if let Some(reason) = strace::missing() {
        return Ok(Verdict::Skipped(reason));
    }
    let (mut running, mut starting, mut tally) = (0, 0, Tally::default());
    for (kind, most) in KINDS {
        for number in spread(*most, campaign.rounds(5, 50)) {
            let (answered, found) = fail_at(campaign, kind, number)
                .map_err(|failed| Failed::new(format!("{kind} {number}: {}", failed.message)))?;
            *(if answered { &mut running } else { &mut starting }) += 1;
            tally.join(found);
        }
    }
    if running < KINDS.len() {
        return Err(Failed::new("no fault met a running server"));
    }
    Ok(Verdict::Passed(format!("{running} faults of running servers, {starting} of starting ones; {tally}")))
}

/// Whether the server had answered before, and what was found afterwards.
fn fail_at(campaign: &Campaign, kind: &str, number: usize) -> Result<(bool, Tally), Failed> {
    let place = Place::new(campaign)?;
    let trace = place.path().join("trace");
    let (only, inject) = (format!("trace={kind}"), format!("inject={kind}:error=EIO:when={number}"));
    let mut server = place.start(&traced(&trace, &["-e", &only, "-e", &inject]))?;
    let mut ledger = Ledger::default();
    let answered = match server.ready()? {
        Some(api) => speak_until_it_fails(&server, &api, &mut ledger)?,
        None if server.wait(Duration::ZERO)?.success() => {
            return Err(Failed::new("a start that failed ended as if it had not"));
        }
        None => false,
    };
    server.kill();
    let (server, api) = place.serve()?;
    let tally = ledger.settle_and_verify(&api)?;
    server.stop()?;
    place.check()?;
    Ok((answered, tally))
}

/// Whether there was an acknowledgement before the fault.
fn speak_until_it_fails(server: &Server, api: &Api, ledger: &mut Ledger) -> Result<bool, Failed> {
    let Ok(session) = api.create_session() else {
        check_read_only(server, api, None)?;
        return Ok(false);
    };
    for number in 0..INPUTS {
        match ledger.say(api, &session, &format!("before-{number}"), "hello")? {
            Said::Acked | Said::Refused(429, _) => {}
            Said::Refused(503, code) if code == "store_read_only" => {
                for number in 0..TRIED {
                    let said = ledger.say(api, &session, &format!("after-{number}"), "hello")?;
                    if !matches!(&said, Said::Refused(503, code) if code == "store_read_only") {
                        return Err(Failed::new(format!("after the fault: {said:?}")));
                    }
                }
                check_read_only(server, api, Some(&session))?;
                return Ok(ledger.acked() > 0);
            }
            other => return Err(server.fault(&format!("the fault was answered with {other:?}"))),
        }
    }
    Err(Failed::new("the fault did not come"))
}

fn check_read_only(server: &Server, api: &Api, session: Option<&str>) -> Result<(), Failed> {
    let ready = api.get("/readyz").map_err(|e| server.fault(&e.to_string()))?;
    if ready.status != 503 || ready.body["reasons"][0] != "store_read_only" {
        return Err(Failed::new(format!("after the fault /readyz says {ready:?}")));
    }
    match session.map(|session| api.log(session)) {
        Some(Err(error)) => Err(Failed::new(format!("after the fault the log cannot be read: {error}"))),
        _ => Ok(()),
    }
}
