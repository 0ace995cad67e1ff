//! F01: the server is killed at its n-th write, flush or answer, from the first start to a clean stop.

use std::{collections::BTreeMap, fs, os::unix::process::ExitStatusExt, time::Duration};

use super::{
    Campaign, Outcome, Verdict,
    api::Api,
    ledger::{Ledger, Tally, ends_turn},
    place::Place,
    strace::{self, calls, most_of_a_thread, spread, traced},
    wait::wait_for,
};
use crate::shell::Failed;

const KINDS: &str = "pwrite64,fdatasync,fsync,write,writev,sendto,ftruncate,rename,unlink";
/// What is said, one after the other: a model's words, and a tool call with the words after it.
const SCRIPT: &[&str] = &["hello", "/tool nothing {\"a\": 1}"];
const TURN: Duration = Duration::from_secs(20);

pub(super) fn kill_at_every_syscall(campaign: &Campaign) -> Outcome {
    if let Some(reason) = strace::missing() {
        return Ok(Verdict::Skipped(reason));
    }
    let most = count(campaign)?;
    let each = campaign.rounds(10, 100);
    let (mut reached, mut points, mut tally) = (BTreeMap::new(), 0, Tally::default());
    for (kind, most) in &most {
        for number in spread(*most, each) {
            points += 1;
            let (was_killed, found) = kill_at(campaign, kind, number)
                .map_err(|failed| Failed::new(format!("{kind} {number}: {}", failed.message)))?;
            *reached.entry(kind.clone()).or_insert(0) += usize::from(was_killed);
            tally.join(found);
        }
    }
    let total: usize = reached.values().sum();
    if total * 2 < points {
        return Err(Failed::new(format!("of {points} kill points only {total} were reached: {reached:?}")));
    }
    let each: Vec<String> = reached.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    Ok(Verdict::Passed(format!("{total} of {points} kill points reached ({}); {tally}", each.join(", "))))
}

/// How many calls of each kind one life has.
fn count(campaign: &Campaign) -> Result<BTreeMap<String, usize>, Failed> {
    let place = Place::new(campaign)?;
    let trace = place.path().join("trace");
    let (server, api) = place.serve_as(&traced(&trace, &["-e", &format!("trace={KINDS}")]))?;
    let mut ledger = Ledger::default();
    if !recite(&api, &mut ledger)? {
        return Err(server.fault("it ended by itself"));
    }
    server.stop()?;
    let text = fs::read(&trace).map_err(|e| Failed::new(format!("the trace: {e}")))?;
    Ok(most_of_a_thread(&calls(&String::from_utf8_lossy(&text))))
}

fn kill_at(campaign: &Campaign, kind: &str, number: usize) -> Result<(bool, Tally), Failed> {
    let place = Place::new(campaign)?;
    let trace = place.path().join("trace");
    let (only, inject) = (format!("trace={kind}"), format!("inject={kind}:signal=SIGKILL:when={number}"));
    let mut server = place.start(&traced(&trace, &["-e", &only, "-e", &inject]))?;
    let mut ledger = Ledger::default();
    if let Some(api) = server.ready()?
        && recite(&api, &mut ledger)?
    {
        // It may be killed just before.
        server.signal("TERM").ok();
    }
    let status = server.wait(TURN)?;
    let (server, api) = place.serve()?;
    let tally = ledger.settle_and_verify(&api)?;
    server.stop()?;
    place.check()?;
    Ok((status.signal() == Some(9), tally))
}

/// Says everything and waits for every turn's end; whether the server lived through it.
fn recite(api: &Api, ledger: &mut Ledger) -> Result<bool, Failed> {
    let Ok(session) = api.create_session() else { return Ok(false) };
    for (number, text) in (1..).zip(SCRIPT) {
        ledger.say(api, &session, &format!("line-{number}"), text)?;
        let lived = wait_for(TURN, || match api.log(&session) {
            Ok(log) if log.iter().filter(|event| ends_turn(event)).count() >= number => Some(true),
            Ok(_) => None,
            Err(_) => Some(false),
        });
        match lived {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => return Err(Failed::new(format!("the turn of {text:?} does not end"))),
        }
    }
    Ok(true)
}
