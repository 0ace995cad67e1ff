//! F02: the server is killed at random moments while clients talk, started again, and owes nothing.

use std::{fs, time::Duration};

use super::{
    Campaign, Outcome, Verdict,
    ledger::Tally,
    load::Talkers,
    place::{How, Place},
    wait::{Chance, pause},
};
use crate::shell::Failed;

const CLIENTS: usize = 6;
/// Latest moment of a kill.
const KILL_WITHIN: Duration = Duration::from_millis(400);
/// How soon a server that was killed answers again; half of all starts are measured against it.
const READY: Duration = Duration::from_secs(2);

pub(super) fn kill_under_load(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let mut chance = Chance::new(campaign.seed);
    let (mut starts, mut all, mut kills) = (Vec::new(), Vec::new(), 0);
    let (mut server, mut api) = place.serve()?;
    for _ in 0..campaign.rounds(16, 1000) {
        let mut talkers = Talkers::new(&api, CLIENTS, &mut chance)?;
        let moment = chance.up_to(KILL_WITHIN);
        talkers.talk_during(&api, || {
            pause(moment);
            server.kill();
        })?;
        kills += 1;
        if chance.below(3) == 0 {
            // Killed again while it takes up what it left.
            let again = place.start(&How::default())?;
            pause(chance.up_to(KILL_WITHIN));
            again.kill();
            kills += 1;
        }
        (server, api) = place.serve()?;
        starts.push(server.age());
        talkers.settle_and_verify(&api)?;
        all.push(talkers);
    }
    let mut tally = Tally::default();
    for talkers in &mut all {
        tally.join(talkers.verify(&api)?);
    }
    server.stop()?;
    let checked = place.check()?;
    starts.sort();
    let (median, most) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    if median > READY {
        return Err(Failed::new(format!("after a kill it took {median:?} until it answered")));
    }
    a_lost_log_is_seen(&place, &mut chance)?;
    Ok(Verdict::Passed(format!(
        "{kills} kills, {tally}; ready in {} ms (most {} ms); {checked}; a lost log was seen",
        median.as_millis(),
        most.as_millis()
    )))
}

/// A check of the ledger itself: it must notice when what was acknowledged is taken away.
fn a_lost_log_is_seen(place: &Place, chance: &mut Chance) -> Result<(), Failed> {
    let (server, api) = place.serve()?;
    let mut talkers = Talkers::new(&api, 1, chance)?;
    talkers.talk_during(&api, || {
        pause(KILL_WITHIN);
        server.kill();
    })?;
    fs::remove_file(place.database().with_extension("db-wal")).map_err(|e| Failed::cannot(e.to_string()))?;
    let (_server, api) = place.serve()?;
    match talkers.acked() > 0 && talkers.verify(&api).is_ok() {
        true => Err(Failed::new("the log was taken away and nobody noticed")),
        false => Ok(()),
    }
}
