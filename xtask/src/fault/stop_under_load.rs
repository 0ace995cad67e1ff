//! G16: a server that is asked to stop under load ends well within its time, and owes nothing.

use std::{fs, time::Duration};

use super::{
    Campaign, Outcome, Verdict,
    ledger::{Ledger, Tally},
    load::Talkers,
    place::{How, Place},
    wait::{Chance, pause},
};
use crate::shell::Failed;

const CLIENTS: usize = 6;
const DRAIN: Duration = Duration::from_secs(2);
/// What ending may take beyond the time turns have to end.
const BESIDE: Duration = Duration::from_secs(5);
/// A turn that outlives the time it is given.
const LONG: &str = "/slow 50\n/long 120";

pub(super) fn a_stop_under_load_is_clean(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let config = place.path().join("moongate.toml");
    let written = fs::write(&config, format!("[server]\ndrain_secs = {}\n", DRAIN.as_secs()));
    written.map_err(|e| Failed::cannot(e.to_string()))?;
    let how = How { environment: vec![("MOONGATE_CONFIG", config.into_os_string())], ..How::default() };
    let mut chance = Chance::new(campaign.seed);
    let (mut tally, mut slowest) = (Tally::default(), Duration::ZERO);
    let rounds = campaign.rounds(2, 20);
    for _ in 0..rounds {
        let (mut server, api) = place.serve_as(&how)?;
        let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
        let mut long = Ledger::default();
        long.say(&api, &session, &session, LONG)?;
        let mut talkers = Talkers::new(&api, CLIENTS, &mut chance)?;
        let ended = talkers.talk_during(&api, || {
            pause(chance.up_to(Duration::from_secs(1)));
            let began = std::time::Instant::now();
            server.signal("TERM")?;
            server.wait(DRAIN + BESIDE).map(|status| (status, began.elapsed()))
        })?;
        let (status, took) = ended?;
        if !status.success() {
            return Err(server.fault(&format!("it ended with {status}")));
        }
        slowest = slowest.max(took);
        let (_server, api) = place.serve_as(&how)?;
        tally.join(talkers.settle_and_verify(&api)?);
        tally.join(long.settle_and_verify(&api)?);
    }
    place.check()?;
    Ok(Verdict::Passed(format!("{rounds} stops, the slowest {} ms; {tally}", slowest.as_millis())))
}
