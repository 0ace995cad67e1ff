//! Logs: to standard error, as lines for people or as JSON.

use std::io;

use tracing_subscriber::{
    Layer as _, Registry, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{cli::LogFormat, config::Log, terminal::Terminal};

/// How much is logged when nobody says.
const USUAL: &str = "info";
/// How much is logged beside a conversation when nobody says.
const QUIET: &str = "error";

impl Log {
    /// The same, saying little where nothing was said.
    pub(crate) fn or_quiet(&self) -> Self {
        Self { filter: Some(self.filter.clone().unwrap_or_else(|| QUIET.to_owned())), format: self.format }
    }
}

/// Starts to log. Once a process.
pub(crate) fn start(log: &Log, terminal: Terminal) {
    let filter: Targets = log.filter.as_deref().unwrap_or(USUAL).parse().unwrap_or_default();
    let color = terminal.shows_status;
    let layer = match log.format {
        LogFormat::Plain => fmt::layer().with_writer(io::stderr).with_ansi(color).with_target(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    // A second start of the same process keeps the first one's logs.
    drop(Registry::default().with(layer.with_filter(filter)).try_init());
}
