//! The definitions of servers' tools that were seen first: what came later runs when an operator accepted it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::Definition;

/// The file, in the data folder.
const FILE: &str = "mcp-pins.json";
/// Held while the file is read and written again: the command line writes it beside a running server.
const LOCK: &str = "mcp-pins.lock";
/// Only the gateway's own user decides.
const FILE_MODE: u32 = 0o600;
/// Longest file that is read, in bytes: a thousand changed definitions.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The definitions that were pinned, in a file of the data folder.
#[derive(Clone, Debug)]
pub struct Pins {
    folder: PathBuf,
}

/// A tool whose definition is another than the pinned one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedTool {
    /// The server's name for it.
    pub tool: String,
    /// What the server says of it now.
    pub description: String,
    /// The schema of its arguments now, as JSON.
    pub parameters: String,
}

/// Why the pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsFault {
    /// The file cannot be read or written.
    #[error("{FILE} cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The file is not what was written there.
    #[error("{FILE} is damaged: {0}; move it away to pin the tools of all servers anew")]
    Damaged(#[from] serde_json::Error),
}

/// By the server's name, then the tool's.
#[derive(Default, Deserialize, Serialize)]
struct Pinned(BTreeMap<String, BTreeMap<String, Pin>>);

#[derive(Deserialize, Serialize)]
struct Pin {
    /// The hash of the definition that may run.
    hash: String,
    /// The definition the server has now, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<Now>,
}

#[derive(Deserialize, PartialEq, Serialize)]
struct Now {
    hash: String,
    description: String,
    parameters: Value,
}

impl Pins {
    /// The pins in this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Pins what is new, and says of each definition whether it is the pinned one. Blocks on the disk.
    pub(super) fn judge(&self, server: &str, definitions: &[Definition]) -> Result<Vec<bool>, PinsFault> {
        self.change(|pinned| {
            let pins = pinned.0.entry(server.to_owned()).or_default();
            definitions.iter().map(|definition| judge(pins, definition)).collect()
        })
    }

    /// The tools of a server that wait for an operator. Blocks on the disk.
    ///
    /// # Errors
    /// When the pins cannot be read.
    pub fn changed(&self, server: &str) -> Result<Vec<ChangedTool>, PinsFault> {
        let pinned = self.read()?;
        let pins = pinned.0.get(server).into_iter().flatten();
        let changed = pins.filter_map(|(tool, pin)| {
            let now = pin.now.as_ref()?;
            let (description, parameters) = (now.description.clone(), now.parameters.to_string());
            Some(ChangedTool { tool: tool.clone(), description, parameters })
        });
        Ok(changed.collect())
    }

    /// Accepts the definitions a server has now, of one tool or of all; returns the names of those that had changed.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the pins cannot be read or written.
    pub fn accept(&self, server: &str, tool: Option<&str>) -> Result<Vec<String>, PinsFault> {
        self.change(|pinned| {
            let pins = pinned.0.get_mut(server).into_iter().flatten();
            let wanted = pins.filter(|(name, _)| tool.is_none_or(|tool| tool == name.as_str()));
            let accepted = wanted.filter_map(|(name, pin)| {
                pin.hash = pin.now.take()?.hash;
                Some(name.clone())
            });
            accepted.collect()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pinned) -> T) -> Result<T, PinsFault> {
        let lock = self.open(LOCK)?;
        lock.lock()?;
        let mut pinned = self.read()?;
        let before = serde_json::to_vec(&pinned)?;
        let done = change(&mut pinned);
        if serde_json::to_vec(&pinned)? != before {
            self.write(&pinned)?;
        }
        Ok(done)
    }

    fn read(&self) -> Result<Pinned, PinsFault> {
        let path = self.folder.join(FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pinned::default()),
            Err(error) => return Err(error.into()),
            Ok(found) if found.len() > FILE_BYTES => {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
            }
            Ok(_) => {}
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Whole or not at all.
    fn write(&self, pinned: &Pinned) -> Result<(), PinsFault> {
        let part = format!("{FILE}.new");
        let mut file = self.open(&part)?;
        file.set_len(0)?;
        file.write_all(&serde_json::to_vec_pretty(pinned)?)?;
        file.sync_all()?;
        fs::rename(self.folder.join(part), self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(FILE_MODE);
        options.open(self.folder.join(name))
    }
}

fn judge(pins: &mut BTreeMap<String, Pin>, definition: &Definition) -> bool {
    let fresh = || Pin { hash: definition.hash.clone(), now: None };
    let pin = pins.entry(definition.tool.clone()).or_insert_with(fresh);
    let is_pinned = pin.hash == definition.hash;
    pin.now = (!is_pinned).then(|| Now {
        hash: definition.hash.clone(),
        description: definition.spec.description.clone(),
        parameters: definition.spec.parameters.clone(),
    });
    is_pinned
}
