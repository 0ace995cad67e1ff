//! What every command is given: where it was started, and what it writes to.

use crate::{
    cli::{Place, ServeArgs},
    config::{self, Config, Environment},
    data::DataFolder,
    exit::Outcome,
    terminal::Terminal,
};

/// What every command is given.
pub(crate) struct Context {
    pub(crate) place: Place,
    pub(crate) serve: ServeArgs,
    pub(crate) env: Environment,
    pub(crate) terminal: Terminal,
}

impl Context {
    pub(crate) fn new(place: Place, serve: ServeArgs) -> Self {
        let env = Environment::read();
        Self { place, serve, terminal: Terminal::find(&env), env }
    }

    /// The configuration in force.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub(crate) fn config(&self) -> Outcome<Config> {
        config::load(&self.place, &self.serve, &self.env)
    }

    /// The data folder.
    ///
    /// # Errors
    /// When no home folder is known and none was named.
    pub(crate) fn data(&self) -> Outcome<DataFolder> {
        config::data_folder(&self.place, &self.env).map(DataFolder::new)
    }
}
