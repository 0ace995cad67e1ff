//! The arguments of `moongate sessions`.

use std::path::PathBuf;

use clap::Subcommand;
use moongate_protocol::{AgentName, Namespace, Seq, SessionId};

use super::Print;

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions, newest activity first
    List {
        /// Most sessions to list
        #[arg(long, short = 'n', default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only sessions of this agent
        #[arg(long, value_name = "NAME")]
        agent: Option<AgentName>,
        /// Only sessions in this namespace
        #[arg(long, value_name = "NAMESPACE")]
        namespace: Option<Namespace>,
        /// Only sessions in this state
        #[arg(long, value_name = "STATE", value_parser = ["idle", "running", "waiting"])]
        state: Option<String>,
        /// Only sessions that were put away
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        print: Print,
    },
    /// Show one session and its conversation
    Show {
        /// Which session
        id: SessionId,
        #[command(flatten)]
        print: Print,
    },
    /// Find sessions by words in titles and messages
    Search {
        /// The words
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        print: Print,
    },
    /// Give a session another title
    Rename {
        /// Which session
        id: SessionId,
        /// The title
        title: String,
    },
    /// Stop a session's turn and remove everything of it
    Delete {
        /// Which sessions
        #[arg(required = true)]
        ids: Vec<SessionId>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Make a new session that begins as this one
    Fork {
        /// Which session
        id: SessionId,
        /// The last event to take along [default: all]
        #[arg(long, value_name = "SEQ", value_parser = seq)]
        at: Option<Seq>,
        /// The new session's title
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
    },
    /// Write a session's log as JSON lines
    Export {
        /// Which session
        id: SessionId,
        /// Where to [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take a log back that `export` wrote
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
    },
}

fn seq(text: &str) -> Result<Seq, String> {
    text.parse().map(Seq).map_err(|_| "it is an event's number".to_owned())
}
