//! The commands of the interactive prompt. What it does not know goes to the model.

use moongate_protocol::{ModelName, SessionId};

/// What `/help` prints.
pub(crate) const HELP: &str = "\
/new               begin another conversation
/sessions          list the newest conversations
/sessions N|ID     go on in one of them
/model [NAME]      show or choose the model, as provider/model; `/model -` is the agent's own again
/cancel            stop the turn that runs in this session
/quit              leave (Ctrl-D does, too)
Enter sends; Alt-Enter or a \\ at the end begins a new line. Ctrl-C stops an answer.
Everything else goes to the model, lines with other slashes too; //help sends it a /help.";

/// A command of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slash {
    Help,
    New,
    Sessions,
    /// By its number in the list, counted from 1.
    Nth(usize),
    Switch(SessionId),
    ShowModel,
    OwnModel,
    Model(ModelName),
    Cancel,
    Quit,
    /// A known command with words it cannot take.
    Wrong(&'static str),
}

/// The command a line is; `None` for everything that goes to the model.
pub(crate) fn parse(line: &str) -> Option<Slash> {
    let mut words = line.split_whitespace();
    let command = words.next()?;
    let word = words.next();
    if words.next().is_some() {
        return None;
    }
    let slash = match (command, word) {
        ("/help" | "/?", None) => Slash::Help,
        ("/new", None) => Slash::New,
        ("/cancel", None) => Slash::Cancel,
        ("/quit" | "/exit" | "/q", None) => Slash::Quit,
        ("/sessions", None) => Slash::Sessions,
        ("/sessions", Some(word)) => session(word),
        ("/model", None) => Slash::ShowModel,
        ("/model", Some("-")) => Slash::OwnModel,
        ("/model", Some(word)) => {
            word.parse().map_or(Slash::Wrong("a model is named provider/model"), Slash::Model)
        }
        _ => return None,
    };
    Some(slash)
}

fn session(word: &str) -> Slash {
    if let Ok(number) = word.parse() {
        return Slash::Nth(number);
    }
    word.parse().map_or(Slash::Wrong("a session is a number of the list, or ses_…"), Slash::Switch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_ours_and_of_the_model() {
        for (line, expected) in [
            ("/help", Some(Slash::Help)),
            ("  /quit ", Some(Slash::Quit)),
            ("/sessions 3", Some(Slash::Nth(3))),
            ("/sessions x", Some(Slash::Wrong("a session is a number of the list, or ses_…"))),
            ("/model openai/gpt-5", Some(Slash::Model("openai/gpt-5".parse().unwrap()))),
            ("/model -", Some(Slash::OwnModel)),
            ("/long 40", None),
            ("/new things are good", None),
            ("/help me please", None),
            ("/slow 10 /long 3", None),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
