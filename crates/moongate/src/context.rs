//! What every command is given: where it was started, and what it writes to.

use crate::{
    cli::{Place, ServeArgs},
    config::{self, Config, Environment, Origins},
    data::DataFolder,
    exit::Outcome,
    terminal::Terminal,
};

/// What every command is given.
pub(crate) struct Context {
    /// What the configuration is read from.
    pub(crate) origins: Origins,
    pub(crate) terminal: Terminal,
}

impl Context {
    pub(crate) fn new(place: Place, serve: ServeArgs) -> Self {
        let env = Environment::read();
        Self { terminal: Terminal::find(&env), origins: Origins { place, serve, env } }
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub(crate) fn config(&self) -> Outcome<Config> {
        self.origins.load()
    }

    /// The data folder.
    ///
    /// # Errors
    /// When no home folder is known and none was named.
    pub(crate) fn data(&self) -> Outcome<DataFolder> {
        config::data_folder(&self.origins.place, &self.origins.env).map(DataFolder::new)
    }
}
