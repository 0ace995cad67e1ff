//! The environment: the one place it is read.

use std::{collections::BTreeMap, path::PathBuf};

/// The variables of the process, as they were when it began.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the environment. Variables that are no text are as good as absent.
    pub(crate) fn read() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable's value; an empty one is as good as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether colours are unwanted.
    pub(crate) fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.get("TERM") == Some("dumb")
    }

    /// Where the configuration file is by default.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        Some(self.folder("XDG_CONFIG_HOME", ".config")?.join("moongate").join("moongate.toml"))
    }

    /// Where data are kept by default.
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        Some(self.folder("XDG_DATA_HOME", ".local/share")?.join("moongate"))
    }

    /// A folder of the platform.
    fn folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // The specification says that relative paths are to be ignored.
        let stated = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = if cfg!(target_os = "macos") { "Library/Application Support" } else { below_home };
        stated.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(below)))
    }
}

#[cfg(test)]
impl Environment {
    /// These variables and no others.
    pub(crate) fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}
