//! The texts a configuration is read from: the operator's file, and over it what clients changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Environment, data_folder, document::line_and_column};
use crate::{
    cli::Place,
    exit::{Failure, Outcome},
};

/// What clients changed, in the data folder.
pub(crate) const OVERLAY: &str = "config.overlay.toml";
/// Longest configuration file that is read.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A configuration file as it was when it was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The texts, as one: the bytes of the second one are counted on from those of the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    /// The operator's file.
    pub(crate) file: Option<Source>,
    /// What clients changed; it wins.
    pub(crate) overlay: Option<Source>,
}

impl Texts {
    /// Reads both. A file somebody named has to be there.
    pub(super) fn read(place: &Place, env: &Environment) -> Outcome<Self> {
        let named = place.config.clone().or_else(|| env.get("MOONGATE_CONFIG").map(PathBuf::from));
        let must_exist = named.is_some();
        let file = match named.or_else(|| env.config_file()) {
            Some(path) => source(path, must_exist)?,
            None => None,
        };
        // Without a data folder there is a fault of its own.
        let overlay = match data_folder(place, env) {
            Ok(folder) => source(folder.join(OVERLAY), false)?,
            Err(_) => None,
        };
        Ok(Self { file, overlay })
    }

    /// The operator's text.
    pub(super) fn file_text(&self) -> &str {
        self.file.as_ref().map_or("", |source| &source.text)
    }

    /// The text that wins.
    pub(crate) fn overlay_text(&self) -> &str {
        self.overlay.as_ref().map_or("", |source| &source.text)
    }

    /// The number of the first byte of the text that wins.
    pub(super) fn overlay_start(&self) -> usize {
        self.file_text().len() + 1
    }

    /// The folder paths in the operator's file are relative to.
    pub(super) fn folder(&self) -> Option<&Path> {
        let file = self.file.as_ref()?;
        Some(file.path.parent().unwrap_or(Path::new(".")))
    }

    /// Where a byte stands: `file:line:column`.
    pub(super) fn place(&self, byte: usize) -> String {
        let (source, (line, column)) = match byte.checked_sub(self.overlay_start()) {
            Some(byte) => (&self.overlay, line_and_column(self.overlay_text(), byte)),
            None => (&self.file, line_and_column(self.file_text(), byte)),
        };
        let name = source.as_ref().map(|source| source.path.display().to_string()).unwrap_or_default();
        format!("{name}:{line}:{column}")
    }

    /// The line a byte stands on, in words.
    pub(super) fn line(&self, byte: usize) -> String {
        match byte.checked_sub(self.overlay_start()) {
            Some(byte) => format!("{OVERLAY} line {}", line_and_column(self.overlay_text(), byte).0),
            None => format!("line {}", line_and_column(self.file_text(), byte).0),
        }
    }
}

fn source(path: PathBuf, must_exist: bool) -> Outcome<Option<Source>> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("the configuration file {} cannot be read: {error}", path.display()))
    };
    match fs::metadata(&path) {
        Err(error) if is_missing(&error) && !must_exist => return Ok(None),
        Err(error) => return Err(cannot(&error)),
        Ok(found) if found.len() > MAX_FILE_BYTES => {
            return Err(cannot(&format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| cannot(&error))?;
    Ok(Some(Source { path, text }))
}

/// Whether there is no such file, nor a folder it could be in.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
