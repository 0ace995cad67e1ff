//! F05: the disk fills up and is freed again, under one and the same server.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Campaign, Outcome, Verdict,
    ledger::{Ledger, Said},
    place::Place,
    wait::wait_for,
};
use crate::shell::Failed;

const SIZE: &str = "size=12m,mode=700";
const RUNNING: &str = "/slow 5\n/long 40";
/// Inputs after which a full disk must have shown itself.
const INPUTS: usize = 400;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn a_full_disk_loses_nothing(campaign: &Campaign) -> Outcome {
    let mut place = Place::new(campaign)?;
    let disk = match Disk::mount(place.path().join("disk")) {
        Ok(disk) => disk,
        Err(reason) => return Ok(Verdict::Skipped(reason)),
    };
    place.set_data(disk.0.join("data"));
    let (server, api) = place.serve()?;
    let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
    let mut ledger = Ledger::default();
    let rounds = campaign.rounds(3, 10);
    for round in 0..rounds {
        match ledger.say(&api, &session, &format!("{round}-before"), "hello")? {
            Said::Acked => {}
            other => return Err(server.fault(&format!("with room: {other:?}"))),
        }
        // A turn that is running when the disk is full goes on when there is room.
        ledger.say(&api, &session, &format!("{round}-running"), RUNNING)?;
        let ballast = disk.fill()?;
        let mut refused = false;
        for number in 0..INPUTS {
            match ledger.say(&api, &session, &format!("{round}-{number}"), &"hello ".repeat(100))? {
                Said::Acked | Said::Refused(429, _) => {}
                Said::Refused(507, code) if code == "disk_full" => {
                    refused = true;
                    break;
                }
                other => return Err(server.fault(&format!("without room: {other:?}"))),
            }
        }
        if !refused {
            return Err(Failed::new("the disk did not get full"));
        }
        // Reading goes on.
        api.log(&session).map_err(|e| server.fault(&format!("without room nothing is read: {e}")))?;
        fs::remove_file(ballast).map_err(|e| Failed::cannot(e.to_string()))?;
        let key = format!("{round}-after");
        let recovered = wait_for(PATIENCE, || match ledger.say(&api, &session, &key, "hello") {
            Ok(Said::Acked) => Some(()),
            _ => None,
        });
        recovered.ok_or_else(|| server.fault("there is room again and nothing is taken"))?;
    }
    let tally = ledger.settle_and_verify(&api)?;
    server.stop()?;
    place.check()?;
    Ok(Verdict::Passed(format!("{rounds} times full and freed without a restart; {tally}")))
}

/// A small disk in memory. Dropping it unmounts it.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "moongate-fault"]).arg(&at);
        match mount.stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(Self(at)),
            Ok(_) => Err("mounting a small disk takes more rights than we have".to_owned()),
            Err(error) => Err(format!("there is no mount: {error}")),
        }
    }

    /// Takes all the room there is; gives the file that takes it.
    fn fill(&self) -> Result<PathBuf, Failed> {
        let path = self.0.join("ballast");
        let mut file = create(&path)?;
        let mut block = 64 * 1024;
        while block > 0 {
            if file.write_all(&vec![0; block]).is_err() {
                block /= 2;
            }
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // One that is still in use goes away with its last user.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn create(path: &Path) -> Result<File, Failed> {
    File::create(path).map_err(|e| Failed::cannot(format!("{}: {e}", path.display())))
}
