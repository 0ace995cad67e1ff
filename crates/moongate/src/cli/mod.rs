//! The command line: every command, flag and help text.

mod keys;
mod sessions;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use moongate_protocol::{AgentName, ApprovalId, Effort, ModelName, QuestionId, SessionId};

pub(crate) use self::{
    keys::{KeyArgs, KeysCommand},
    sessions::SessionsCommand,
};

const EXAMPLES: &str = "\
Examples:
  moongate                          start the server on 127.0.0.1:8137
  moongate chat                     talk in the terminal, with or without a running server
  moongate chat \"why is the sky blue?\"
  git diff | moongate chat - > review.md
  moongate sessions list            what was talked about, newest first
  moongate doctor                   is everything in order?

Environment: MOONGATE_CONFIG, MOONGATE_DATA, MOONGATE_LISTEN, MOONGATE_LOG, MOONGATE_MODEL, and the
providers' usual variables (OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENAI_BASE_URL, …).
Exit codes: 0 done, 1 the turn or call failed, 2 wrong use, 3 no server.";

/// A self-hosted agent gateway: durable sessions, live streaming, human approval.
#[derive(Debug, Parser)]
#[command(name = "moongate", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Where configuration and data are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Places")]
pub(crate) struct Place {
    /// The configuration file [default: moongate.toml in the platform's configuration folder]
    #[arg(long, global = true, display_order = 900, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder everything is kept in [default: moongate in the platform's data folder]
    #[arg(long, global = true, display_order = 900, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// How the server runs.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: 127.0.0.1:8137]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How much to log: error, warn, info, debug, trace, or per module such as `info,moongate_core=debug`
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look [default: plain]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl ServeArgs {
    /// The same, with what was said before the command's name where nothing was said after it.
    pub(crate) fn or(self, before: Self) -> Self {
        Self {
            listen: self.listen.or(before.listen),
            log: self.log.or(before.log),
            log_format: self.log_format.or(before.log_format),
        }
    }
}

/// How log lines look.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    ValueEnum,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// Which server to talk to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Remote {
    /// A server's address, for example `http://127.0.0.1:8137` [default: the one that uses the data folder]
    #[arg(long, global = true, display_order = 900, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file that holds the key to show it [default: admin.key in the data folder]
    #[arg(long, global = true, display_order = 900, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Print {
    /// Print the server's JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server (what `moongate` alone does too)
    Serve(ServeArgs),
    /// Talk with an agent in the terminal
    Chat(ChatArgs),
    /// List, show, move and remove conversations
    Sessions {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Decide what agents may do
    Approvals {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: ApprovalsCommand,
    },
    /// Answer what agents ask
    Questions {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: QuestionsCommand,
    },
    /// Make and revoke keys for clients
    Keys {
        #[command(flatten)]
        remote: Remote,
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Show a code that lets a device of a Construct client in, once and for ten minutes
    Pair(PairArgs),
    /// Show a link to the web page that signs a browser in, once and for ten minutes
    Open(ListArgs),
    /// List the agents
    Agents(ListArgs),
    /// List the models
    Models(ListArgs),
    /// What was used and what it cost
    Usage(UsageArgs),
    /// Show MCP servers, and accept tools whose definition changed
    Mcp {
        #[command(subcommand)]
        command: McpCommand,
    },
    /// Look at everything and say what is wrong and what to do
    Doctor(DoctorArgs),
    /// Check, show and describe the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Copy the data folder into a new folder, while the server runs or not
    Backup {
        /// The new folder
        dir: PathBuf,
    },
    /// Make the data folder from a backup; the data folder must not hold a store yet
    Restore {
        /// A folder that `moongate backup` made
        dir: PathBuf,
    },
    /// Print the OpenAPI document of the native door
    Openapi,
    /// Print a shell's completion script
    #[command(
        after_help = "Example:\n  moongate completions bash > ~/.local/share/bash-completion/completions/moongate"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

const CHAT_EXAMPLES: &str = "\
Examples:
  moongate chat                                  an interactive conversation
  moongate chat --continue                       the one you were in last
  moongate chat \"summarise this\" --session ses_…
  cat notes.txt | moongate chat -                the question comes from standard input
  moongate chat --json \"hello\" | jq .type        events as JSON lines

In the interactive prompt: Enter sends, Alt-Enter or a \\ at the end begins a new line, Ctrl-C
stops an answer, Ctrl-D leaves, /help lists the commands.";

#[derive(Debug, Args)]
#[command(after_help = CHAT_EXAMPLES)]
pub(crate) struct ChatArgs {
    /// What to say; `-` reads it from standard input. Without it an interactive conversation begins
    pub(crate) text: Option<String>,
    /// Go on in this session
    #[arg(long, short, value_name = "ID", conflicts_with = "continue_last")]
    pub(crate) session: Option<SessionId>,
    /// Go on in the session with the newest activity
    #[arg(long = "continue", short)]
    pub(crate) continue_last: bool,
    /// Who answers, in a new session
    #[arg(long, short, value_name = "NAME")]
    pub(crate) agent: Option<AgentName>,
    /// Which model answers, instead of the agent's
    #[arg(long, short, value_name = "PROVIDER/MODEL")]
    pub(crate) model: Option<ModelName>,
    /// How much the model thinks: minimal, low, medium or high
    #[arg(long, value_name = "LEVEL", value_parser = effort)]
    pub(crate) effort: Option<Effort>,
    /// An image to send along (PNG, JPEG, GIF or WebP); may be given more than once
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// Print the session's events as JSON lines instead of the answer
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

fn effort(text: &str) -> Result<Effort, String> {
    let level = match text {
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        _ => return Err("it is minimal, low, medium or high".into()),
    };
    Ok(level)
}

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The device may let other devices in, and revoke them
    #[arg(long)]
    pub(crate) admin: bool,
    #[command(flatten)]
    pub(crate) print: Print,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) print: Print,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits for a decision
    List(Print),
    /// Let a call run
    Approve {
        /// Which approval
        id: ApprovalId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Do not let a call run
    Deny {
        /// Which approval
        id: ApprovalId,
        /// Why; the agent is told
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuestionsCommand {
    /// List what waits for an answer
    List(Print),
    /// Answer a question
    Answer {
        /// Which question
        id: QuestionId,
        /// The answer in words; where the question has a form, its fields as NAME=VALUE
        #[arg(required = true, value_name = "ANSWER")]
        answer: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// What to sum by
    #[arg(long, value_name = "GROUP", default_value = "day", value_parser = ["day", "agent", "model", "session"])]
    pub(crate) group: String,
    #[command(flatten)]
    pub(crate) print: Print,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Read every session's log and compare what is derived from it, also while a server runs
    #[arg(long)]
    pub(crate) check: bool,
    /// Build lists, search and usage anew from the logs (the server must not run)
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// List the configured servers, how they are, and the tools that wait to be accepted
    List(Print),
    /// Accept the definitions a server's tools have now
    Accept {
        /// Which server
        name: String,
        /// Which of its tools [default: all that changed]
        tool: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say everything that is wrong with the configuration, at once
    Check,
    /// Show what is in force and where it comes from; secrets are never shown
    Show(Print),
    /// Print the file's JSON Schema
    Schema,
}
