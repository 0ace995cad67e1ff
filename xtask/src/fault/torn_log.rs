//! F08: the write-ahead log of a killed server is cut off anywhere. The store opens, and what was whole before
//! the cut is there.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use super::{
    Campaign, Outcome, Verdict,
    ledger::{Ledger, Said, Tally},
    place::{Place, copy_data},
    wait::Chance,
};
use crate::shell::Failed;

const SESSIONS: usize = 2;
const INPUTS: usize = 12;

pub(super) fn a_torn_log_keeps_what_was_whole(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let (server, api) = place.serve()?;
    let wal = place.database().with_extension("db-wal");
    let sessions: Result<Vec<String>, _> = (0..SESSIONS).map(|_| api.create_session()).collect();
    let sessions = sessions.map_err(|e| Failed::new(e.to_string()))?;
    let (mut ledger, mut marks) = (Ledger::default(), Vec::new());
    for (number, session) in sessions.iter().cycle().take(INPUTS).enumerate() {
        let key = format!("line-{number}");
        match ledger.say(&api, session, &key, &format!("hello {number}"))? {
            Said::Acked => marks.push((length(&wal)?, key)),
            other => return Err(server.fault(&format!("an input was answered with {other:?}"))),
        }
    }
    // The last turns may go on meanwhile: the log only grows.
    server.kill();
    let whole = length(&wal)?;
    let mut chance = Chance::new(campaign.seed);
    let cuts = campaign.rounds(25, 1000);
    let mut tally = Tally::default();
    for number in 0..cuts {
        // Near the end, where a torn write leaves it, and anywhere.
        let cut = if number % 2 == 0 { chance.below(whole) } else { whole - chance.below(whole.min(5000)) };
        let kept = marks.iter().filter(|(mark, _)| *mark <= cut).map(|(_, key)| key.clone()).collect();
        let found = open_cut(campaign, &place, cut, &ledger.promising(&kept));
        let found = found.map_err(|e| Failed::new(format!("cut at {cut} of {whole}: {}", e.message)))?;
        tally.join(found);
    }
    Ok(Verdict::Passed(format!("{cuts} cuts of {whole} bytes; promises from before them: {tally}")))
}

/// Opens a copy whose log ends early, and holds it against what was acknowledged before.
fn open_cut(campaign: &Campaign, killed: &Place, cut: u64, ledger: &Ledger) -> Result<Tally, Failed> {
    let place = copy_data(campaign, killed)?;
    let wal = OpenOptions::new().write(true).open(place.database().with_extension("db-wal"));
    wal.and_then(|wal| wal.set_len(cut)).map_err(|e| Failed::cannot(format!("the cut: {e}")))?;
    let (server, api) = place.serve()?;
    let tally = ledger.verify(&api)?;
    server.stop()?;
    place.check()?;
    Ok(tally)
}

fn length(path: &Path) -> Result<u64, Failed> {
    fs::metadata(path).map(|file| file.len()).map_err(|e| Failed::cannot(format!("{}: {e}", path.display())))
}
