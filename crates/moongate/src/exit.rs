//! How a command ends: what scripts see as the exit code, and what a person reads.

use std::{io, process::ExitCode};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The turn or the call failed. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The command was used wrongly, or the configuration is wrong. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// There is no server to talk to. Exit code 3.
    #[error("{0}")]
    NoServer(String),
    /// Everything was said already; only the exit code 1 is left.
    #[error("")]
    Silent,
    /// Nobody reads the output any more: no fault of the command.
    #[error("")]
    NobodyReads,
}

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(io::ErrorKind::BrokenPipe) => Self::NobodyReads,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NobodyReads => 0,
            Self::Failed(_) | Self::Silent => 1,
            Self::Usage(_) => 2,
            Self::NoServer(_) => 3,
        })
    }
}
