//! F26: an older store is brought up to date under kill -9 at every system call of it; a newer one is refused.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::Command,
    time::Duration,
};

use super::{
    Campaign, Outcome, Verdict,
    ledger::Ledger,
    place::{How, Place, copy_data},
    strace::{self, calls, most_of_a_thread, spread, traced},
};
use crate::shell::{self, Failed};

const KINDS: &str = "pwrite64,fdatasync,fsync,ftruncate";
const INPUTS: usize = 5;
const START: Duration = Duration::from_secs(20);
/// Where the database's header keeps the store's format, in four bytes, and a format nobody knows.
const FORMAT_AT: u64 = 60;
const NEWER: u32 = 999;
/// Takes all steps back, as the first version would have left the store.
const DOWNGRADE: &str = "import sqlite3, sys\n\
    db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
    db.execute('DROP INDEX session_busy')\n\
    db.execute('DROP INDEX audit_tenant')\n\
    db.execute('DROP TABLE turn')\n\
    db.execute('DROP TABLE approval')\n\
    db.execute('DROP TABLE question')\n\
    db.execute('CREATE TABLE approval (id BLOB PRIMARY KEY, session INTEGER NOT NULL, expires INTEGER NOT NULL) '\n\
    \x20          'STRICT, WITHOUT ROWID')\n\
    db.execute('CREATE INDEX approval_session ON approval (session)')\n\
    db.execute('ALTER TABLE key DROP COLUMN device')\n\
    db.execute('ALTER TABLE usage DROP COLUMN principal')\n\
    db.execute('ALTER TABLE usage DROP COLUMN namespace')\n\
    db.execute('PRAGMA user_version=1')\n\
    db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n";

pub(super) fn an_upgrade_survives_kills(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let (server, api) = place.serve()?;
    let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
    let mut ledger = Ledger::default();
    for number in 0..INPUTS {
        ledger.say(&api, &session, &format!("line-{number}"), "hello")?;
    }
    ledger.settle_and_verify(&api)?;
    server.stop()?;
    let current = format(&place.database())?;
    newer_is_refused(&place, current)?;
    let missing = strace::missing().or_else(|| (!has_python()).then(|| "there is no python3".to_owned()));
    if let Some(missing) = missing {
        return Ok(Verdict::Skipped(format!("{missing}; a newer store is refused")));
    }
    let mut python = Command::new("python3");
    shell::run(python.args(["-c", DOWNGRADE]).arg(place.database()))?;
    if format(&place.database())? != 1 {
        return Err(Failed::new("the store did not become an old one"));
    }
    let most = count(campaign, &place)?;
    let (mut points, mut reached, mut formats) = (0, 0, BTreeSet::new());
    for (kind, most) in most {
        for number in spread(most, campaign.rounds(8, 1000)) {
            points += 1;
            let (was_killed, left) = kill_at(campaign, &place, &kind, number, &ledger)
                .map_err(|failed| Failed::new(format!("{kind} {number}: {}", failed.message)))?;
            reached += usize::from(was_killed);
            formats.insert(left);
        }
    }
    if reached * 2 < points {
        return Err(Failed::new(format!("of {points} kill points only {reached} were reached")));
    }
    Ok(Verdict::Passed(format!(
        "{reached} of {points} kill points reached, format {formats:?} left in the file and {current} after the \
         next start, {INPUTS} inputs still there; format {NEWER} is refused"
    )))
}

/// The calls of one start on an old store.
fn count(campaign: &Campaign, old: &Place) -> Result<Vec<(String, usize)>, Failed> {
    let place = copy_data(campaign, old)?;
    let trace = place.path().join("trace");
    let (server, _) = place.serve_as(&traced(&trace, &["-e", &format!("trace={KINDS}")]))?;
    server.kill();
    let text = fs::read(&trace).map_err(|e| Failed::new(format!("the trace: {e}")))?;
    Ok(most_of_a_thread(&calls(&String::from_utf8_lossy(&text))).into_iter().collect())
}

/// Whether a start was killed, and the format it left in the database's own file.
fn kill_at(
    campaign: &Campaign,
    old: &Place,
    kind: &str,
    number: usize,
    ledger: &Ledger,
) -> Result<(bool, u32), Failed> {
    let place = copy_data(campaign, old)?;
    let trace = place.path().join("trace");
    let (only, inject) = (format!("trace={kind}"), format!("inject={kind}:signal=SIGKILL:when={number}"));
    let mut server = place.start(&traced(&trace, &["-e", &only, "-e", &inject]))?;
    let was_killed = server.ready()?.is_none() && server.wait(START)?.signal() == Some(9);
    server.kill();
    let left = format(&place.database())?;
    let (server, api) = place.serve()?;
    ledger.verify(&api)?;
    server.stop()?;
    place.check()?;
    match format(&place.database())? {
        1 => Err(Failed::new("the store is still an old one")),
        _ => Ok((was_killed, left)),
    }
}

fn newer_is_refused(place: &Place, current: u32) -> Result<(), Failed> {
    set_format(&place.database(), NEWER)?;
    let mut server = place.start(&How::default())?;
    let status = match server.ready()? {
        Some(_) => return Err(Failed::new("a store newer than the program was opened")),
        None => server.wait(START)?,
    };
    let said = server.fault("refused").message;
    if status.code().is_none_or(|code| code == 0) || !said.contains(&NEWER.to_string()) {
        return Err(Failed::new(format!("a newer store ended the program with {status}: {said}")));
    }
    set_format(&place.database(), current)
}

fn has_python() -> bool {
    let mut asked = Command::new("python3");
    asked.args(["-c", "import sqlite3"]).output().is_ok_and(|output| output.status.success())
}

fn format(database: &Path) -> Result<u32, Failed> {
    let mut bytes = [0; 4];
    let read = fs::File::open(database).and_then(|file| file.read_exact_at(&mut bytes, FORMAT_AT));
    read.map_err(|e| Failed::cannot(format!("{}: {e}", database.display())))?;
    Ok(u32::from_be_bytes(bytes))
}

fn set_format(database: &Path, format: u32) -> Result<(), Failed> {
    let file = OpenOptions::new().write(true).open(database);
    let written = file.and_then(|file| file.write_all_at(&format.to_be_bytes(), FORMAT_AT));
    written.map_err(|e| Failed::cannot(format!("{}: {e}", database.display())))
}
