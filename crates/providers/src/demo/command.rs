//! The commands the demo model understands, each on a line of its own.

use std::time::Duration;

use moongate_core::Fault;
use moongate_protocol::ErrorCode;

/// Most words `/long` writes.
const MAX_WORDS: u32 = 100_000;

/// Longest pause `/slow` makes before a piece.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// What a message asks the demo model to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    pub(super) words: Option<u32>,
    pub(super) pause: Duration,
    pub(super) thought: Option<String>,
    pub(super) fault: Option<Fault>,
    pub(super) tools: Vec<(String, String)>,
    pub(super) help: bool,
    /// What could not be understood, in words.
    pub(super) complaints: Vec<String>,
    /// The rest of the message.
    pub(super) text: String,
}

impl Wishes {
    pub(super) fn read(message: &str) -> Self {
        let mut wishes = Self::default();
        let mut rest = Vec::new();
        for line in message.lines() {
            match line.trim().strip_prefix('/') {
                Some(command) => wishes.take(command),
                None => rest.push(line),
            }
        }
        rest.join("\n").trim().clone_into(&mut wishes.text);
        wishes
    }

    fn take(&mut self, command: &str) {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let argument = argument.trim();
        match name {
            "long" => match argument.parse::<u32>() {
                Ok(words) => self.words = Some(words.min(MAX_WORDS)),
                Err(_) => self.complain("/long", "a number of words, for example /long 200"),
            },
            "slow" => match argument.parse() {
                Ok(millis) => self.pause = Duration::from_millis(millis).min(MAX_PAUSE),
                Err(_) => self.complain("/slow", "a number of milliseconds, for example /slow 50"),
            },
            "think" => self.thought = Some(argument.to_owned()),
            "fail" => match fault(argument) {
                Some(fault) => self.fault = Some(fault),
                None => self.complain("/fail", &format!("one of {}", kinds())),
            },
            "tool" => self.tool(argument),
            "help" => self.help = true,
            _ => self.complaints.push(format!("I do not know /{name}.")),
        }
    }

    fn tool(&mut self, argument: &str) {
        let (name, arguments) = argument.split_once(char::is_whitespace).unwrap_or((argument, "{}"));
        if name.is_empty() {
            self.complain(
                "/tool",
                "a tool's name and its arguments, for example /tool echo {\"text\": \"hi\"}",
            );
        } else {
            self.tools.push((name.to_owned(), arguments.trim().to_owned()));
        }
    }

    fn complain(&mut self, command: &str, needs: &str) {
        self.complaints.push(format!("{command} needs {needs}."));
    }
}

const FAULTS: [(&str, ErrorCode, &str); 9] = [
    ("overloaded", ErrorCode::ProviderOverloaded, "The provider has too much to do."),
    ("rate_limit", ErrorCode::ProviderRateLimited, "The provider asks to slow down."),
    ("auth", ErrorCode::ProviderAuth, "The provider refused our credential."),
    ("rejected", ErrorCode::ProviderRejected, "The provider refused the request."),
    ("unreachable", ErrorCode::ProviderUnreachable, "The provider could not be reached."),
    ("timeout", ErrorCode::ProviderTimeout, "The provider did not begin to answer in time."),
    ("cut", ErrorCode::ProviderCut, "The provider broke off in the middle of its answer."),
    ("protocol", ErrorCode::ProviderProtocol, "The provider sent something that is not its protocol."),
    ("context", ErrorCode::ContextTooLong, "The conversation does not fit the model's window."),
];

fn fault(kind: &str) -> Option<Fault> {
    let (_, code, message) = FAULTS.iter().find(|(name, ..)| *name == kind)?;
    let retry_after = (*code == ErrorCode::ProviderRateLimited).then(|| Duration::from_secs(30));
    Some(Fault { retry_after, ..Fault::new(*code, *message) })
}

/// The kinds `/fail` knows, as a list.
pub(super) fn kinds() -> String {
    FAULTS.map(|(name, ..)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_combine_and_the_rest_is_text() {
        let wishes =
            Wishes::read("hello\n/slow 50\n /long 40\n/tool echo {\"a\": 1}\n/tool now\n/think hm\nthere");
        assert_eq!((wishes.pause, wishes.words), (Duration::from_millis(50), Some(40)));
        assert_eq!(wishes.text, "hello\nthere");
        assert_eq!(wishes.thought.as_deref(), Some("hm"));
        let tools = [("echo".to_owned(), "{\"a\": 1}".to_owned()), ("now".to_owned(), "{}".to_owned())];
        assert_eq!(wishes.tools, tools);
        assert!(wishes.complaints.is_empty());
    }

    #[test]
    fn every_documented_failure_and_nothing_else() {
        for (kind, code, _) in FAULTS {
            assert_eq!(Wishes::read(&format!("/fail {kind}")).fault.unwrap().code, code);
        }
        for wrong in ["/fail", "/fail x", "/long", "/long -1", "/slow soon", "/tool", "/dance"] {
            assert_eq!(Wishes::read(wrong).complaints.len(), 1, "{wrong}");
        }
    }
}
