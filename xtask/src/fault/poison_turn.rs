//! F20: a turn in which the server dies each time is given up after three attempts; nobody else suffers.

use std::time::Duration;

use serde_json::Value;

use super::{Campaign, Outcome, Verdict, api::Api, ledger::Ledger, place::Place, wait::wait_for};
use crate::shell::Failed;

/// A turn that is certainly not over before the server is killed.
const POISON: &str = "/slow 20\n/long 1000";
const ATTEMPTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn a_poison_turn_is_given_up(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let (mut server, mut api) = place.serve()?;
    let session = || api.create_session().map_err(|e| Failed::new(e.to_string()));
    let (poisoned, other) = (session()?, session()?);
    let (mut ledger, mut others) = (Ledger::default(), Ledger::default());
    ledger.say(&api, &poisoned, "poison", POISON)?;
    for attempt in 1..=ATTEMPTS {
        wait_until(&api, &poisoned, &format!("attempt {attempt}"), |log| attempts(log) >= attempt)?;
        others.say(&api, &other, &format!("other-{attempt}"), "hello")?;
        others.settle_and_verify(&api)?;
        server.kill();
        (server, api) = place.serve()?;
    }
    let log =
        wait_until(&api, &poisoned, "the end", |log| log.iter().any(|event| event["type"] == "turn.failed"))?;
    let failed = log.iter().find(|event| event["type"] == "turn.failed").unwrap_or(&Value::Null);
    if attempts(&log) != ATTEMPTS || failed["code"] != "attempts_exhausted" {
        return Err(Failed::new(format!("after {} attempts the turn ended with {failed}", attempts(&log))));
    }
    // The session itself goes on.
    ledger.say(&api, &poisoned, "next", "hello")?;
    let mut tally = ledger.settle_and_verify(&api)?;
    tally.join(others.settle_and_verify(&api)?);
    server.stop()?;
    place.check()?;
    Ok(Verdict::Passed(format!("given up after {ATTEMPTS} attempts; {tally}")))
}

fn attempts(log: &[Value]) -> usize {
    log.iter().filter(|event| event["type"] == "turn.started" || event["type"] == "turn.resumed").count()
}

fn wait_until(
    api: &Api,
    session: &str,
    what: &str,
    found: impl Fn(&[Value]) -> bool,
) -> Result<Vec<Value>, Failed> {
    let log = wait_for(PATIENCE, || api.log(session).ok().filter(|log| found(log)));
    log.ok_or_else(|| Failed::new(format!("{what} of the poison turn did not come: {:?}", api.log(session))))
}
