//! Calls and questions that wait for the person at the terminal.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _},
};

use http::Method;
use moongate_protocol::{ApprovalId, Decision, Event, QuestionId, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::{filling::Filling, talk::Talk, view::View};
use crate::{
    client::{CallError, Decide, Decided, Inquiry, Page, Pending, Replied, Reply},
    exit::Outcome,
    terminal::clean,
};

/// What the person is asked with.
const ASK: &str = "  run it? y or n, then Enter (Ctrl-C stops the turn)";

/// What waits for the person.
#[derive(Debug)]
enum Waiting {
    Call(ApprovalId),
    Question(Filling),
}

impl Waiting {
    fn id(&self) -> AskId {
        match self {
            Self::Call(approval) => AskId::Call(*approval),
            Self::Question(filling) => AskId::Question(filling.question),
        }
    }
}

/// What names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskId {
    Call(ApprovalId),
    Question(QuestionId),
}

/// What the person said.
#[derive(Debug, PartialEq)]
pub(crate) enum Word {
    Call(ApprovalId, Decision),
    Question(QuestionId, Value),
}

/// The calls the person has to decide on and the questions they have to answer, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    open: VecDeque<Waiting>,
    /// Answered here: the event says nothing new.
    own: Option<AskId>,
    /// A person types.
    listens: bool,
}

impl Asks {
    /// A person is there who can be asked.
    pub(crate) fn listen(&mut self) {
        self.listens = true;
    }

    /// Takes an event in; what the person is told about it besides.
    pub(crate) fn hear(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::ApprovalRequested(asked) => self.ask(asked.approval),
            Event::ApprovalResolved(resolved) => {
                let who = &resolved.by;
                self.close(AskId::Call(resolved.approval), || match resolved.decision {
                    Decision::Approve => format!("  ({who} said yes)"),
                    Decision::Deny if who.as_str() == "gateway" => "  (nobody said anything in time)".into(),
                    Decision::Deny => format!("  ({who} said no)"),
                })
            }
            Event::QuestionAsked(asked) => self.inquire(asked.question, asked.form.as_ref()),
            Event::QuestionAnswered(answered) => {
                let who = &answered.by;
                self.close(AskId::Question(answered.question), || match answered.answers {
                    Value::Null if who.as_str() == "gateway" => "  (nobody answered in time)".into(),
                    Value::Null => "  (nobody is asked any more)".into(),
                    _ => format!("  ({who} answered)"),
                })
            }
            event if event.ends_turn().is_some() => {
                self.open.clear();
                None
            }
            _ => None,
        }
    }

    /// Forgets what was answered; what the person is told about it, and what they are asked next.
    fn close(&mut self, id: AskId, told: impl FnOnce() -> String) -> Option<String> {
        let was_next = self.open().is_some_and(|open| open == id);
        self.open.retain(|open| open.id() != id);
        let told = if self.own.take_if(|own| *own == id).is_some() { None } else { Some(told()) };
        let next = self.prompt().filter(|_| was_next);
        match (told, next) {
            (Some(told), Some(next)) => Some(format!("{told}\n{next}")),
            (told, next) => told.or(next),
        }
    }

    /// Remembers to ask whether a call may run; what the person is told.
    pub(crate) fn ask(&mut self, approval: ApprovalId) -> Option<String> {
        if !self.listens {
            return None;
        }
        self.open.push_back(Waiting::Call(approval));
        Some(ASK.to_owned())
    }

    /// Remembers to ask a question; what the person is told, if it is the next.
    pub(crate) fn inquire(&mut self, question: QuestionId, form: Option<&Value>) -> Option<String> {
        if !self.listens {
            return None;
        }
        let is_next = self.open.is_empty();
        self.open.push_back(Waiting::Question(Filling::new(question, form)));
        self.prompt().filter(|_| is_next)
    }

    /// What waits for the person's word, when a person can be asked.
    pub(crate) fn open(&self) -> Option<AskId> {
        self.open.front().map(Waiting::id)
    }

    /// What a person is asked for who has a question to answer now.
    fn prompt(&self) -> Option<String> {
        match self.open.front() {
            Some(Waiting::Question(filling)) => Some(filling.prompt()),
            Some(Waiting::Call(_)) | None => None,
        }
    }

    /// The person's word on what waits longest, when they typed one; a text for them when there is more to say.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(crate) fn typed(&mut self) -> io::Result<Option<Result<Word, String>>> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let stdin = io::stdin();
        let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
        // A terminal gives whole lines: where there is something to read, reading does not wait.
        if poll(&mut waits, Some(&Timespec::default()))? == 0 {
            return Ok(None);
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            (self.listens, self.open) = (false, VecDeque::new());
            let elsewhere =
                "  nobody answers here any more; `moongate approvals` and `moongate questions` do";
            return Ok(Some(Err(elsewhere.into())));
        }
        Ok(self.understand(&line))
    }

    fn understand(&mut self, line: &str) -> Option<Result<Word, String>> {
        let word = match self.open.front_mut()? {
            Waiting::Call(approval) => match line.trim().to_lowercase().as_str() {
                "y" | "yes" => Word::Call(*approval, Decision::Approve),
                "n" | "no" => Word::Call(*approval, Decision::Deny),
                _ => return Some(Err(ASK.to_owned())),
            },
            Waiting::Question(filling) => match filling.take(line) {
                Ok(Some(answers)) => Word::Question(filling.question, answers),
                Ok(None) => return Some(Err(filling.prompt())),
                Err(why) => return Some(Err(format!("{why}\n{}", filling.prompt()))),
            },
        };
        self.own = self.open.pop_front().map(|said| said.id());
        Some(Ok(word))
    }
}

impl Talk<'_> {
    /// Asks about what waited before the person came.
    ///
    /// # Errors
    /// When the server says no.
    pub(super) async fn recall_asks(&mut self, session: SessionId, view: &mut dyn View) -> Outcome {
        let path = format!("/approvals?state=open&session={session}");
        let page: Page<Pending> = self.client.get(&path).await?;
        for pending in page.items {
            view.aside(&format!("? {}", clean(&pending.plan)));
            if let Some(preview) = &pending.preview {
                view.aside(clean(preview).trim_end());
            }
            if let Some(text) = self.asks.ask(pending.id) {
                view.aside(&text);
            }
        }
        let page: Page<Inquiry> =
            self.client.get(&format!("/questions?state=open&session={session}")).await?;
        for asked in page.items {
            view.aside(&format!("? {}", clean(&asked.text)));
            if let Some(text) = self.asks.inquire(asked.id, asked.form.as_ref()) {
                view.aside(&text);
            }
        }
        Ok(())
    }

    /// Sends the person's word, when they typed one.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(super) async fn listen(&mut self, view: &mut dyn View) -> Outcome {
        let word = match self.asks.typed()? {
            None => return Ok(()),
            Some(Err(text)) => {
                view.aside(&text);
                return Ok(());
            }
            Some(Ok(word)) => word,
        };
        match self.send_word(word).await {
            Ok(Some(by)) => view.aside(&format!("  ({by} answered before you)")),
            Ok(None) => {}
            Err(error) => view.aside(&error.to_string()),
        }
        if let Some(next) = self.asks.prompt() {
            view.aside(&next);
        }
        Ok(())
    }

    /// Sends a word; who said something before, if anybody did.
    async fn send_word(&mut self, word: Word) -> Result<Option<String>, CallError> {
        Ok(match word {
            Word::Call(approval, decision) => {
                let decide = Decide { decision, reason: None };
                let path = format!("/approvals/{approval}");
                let decided: Decided = self.client.send(Method::POST, &path, &decide).await?;
                decided.already.then(|| decided.by.to_string())
            }
            Word::Question(question, answers) => {
                let path = format!("/questions/{question}");
                let replied: Replied = self.client.send(Method::POST, &path, &Reply { answers }).await?;
                let by = replied.by.map_or_else(|| "somebody".to_owned(), |by| by.to_string());
                replied.already.then_some(by)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use moongate_protocol::{
        ApprovalRequested, ApprovalResolved, QuestionAnswered, QuestionAsked, Timestamp, TurnCancelled,
        TurnId,
    };

    use super::*;

    fn id(number: u128) -> ApprovalId {
        ApprovalId::from_bits(number)
    }

    fn asked(number: u128) -> Event {
        Event::ApprovalRequested(ApprovalRequested {
            turn: TurnId::from_bits(1),
            approval: id(number),
            call: "c".parse().unwrap(),
            tool: "send".parse().unwrap(),
            arguments: serde_json::Value::Null,
            requirement: Default::default(),
            plan: "send {}".into(),
            preview: None,
            reason: "it asks".into(),
            hash: String::new(),
            expires_at: Timestamp::default(),
        })
    }

    fn decided(number: u128, decision: Decision, by: &str) -> Event {
        Event::ApprovalResolved(ApprovalResolved {
            turn: TurnId::from_bits(1),
            approval: id(number),
            decision,
            arguments: None,
            hash: None,
            reason: None,
            by: by.parse().unwrap(),
            remember: None,
        })
    }

    #[test]
    fn a_person_is_asked_one_by_one_and_told_what_others_decided() {
        let mut asks = Asks::default();
        assert_eq!((asks.hear(&asked(1)), asks.open()), (None, None), "nobody is there");
        asks.listen();
        assert!(
            asks.hear(&asked(1)).is_some()
                && asks.hear(&asked(2)).is_some()
                && asks.hear(&asked(3)).is_some()
        );
        assert_eq!(asks.understand("perhaps\n"), Some(Err(ASK.to_owned())));
        assert_eq!(asks.understand(" Yes \n"), Some(Ok(Word::Call(id(1), Decision::Approve))));
        assert_eq!(asks.hear(&decided(1, Decision::Approve, "admin")), None, "it was this person");
        assert_eq!(asks.hear(&decided(2, Decision::Deny, "ann")).unwrap(), "  (ann said no)");
        assert_eq!(asks.open(), Some(AskId::Call(id(3))));
        assert_eq!(
            asks.hear(&decided(3, Decision::Deny, "gateway")).unwrap(),
            "  (nobody said anything in time)"
        );
        asks.hear(&asked(4));
        let (turn, by) = (TurnId::from_bits(1), "ann".parse().unwrap());
        asks.hear(&Event::TurnCancelled(TurnCancelled {
            turn,
            by,
            stopped: vec![],
            reason: Default::default(),
            usage: Default::default(),
        }));
        assert_eq!(asks.open(), None);
    }

    fn inquires(number: u128) -> Event {
        Event::QuestionAsked(QuestionAsked {
            turn: TurnId::from_bits(1),
            question: QuestionId::from_bits(number),
            call: None,
            limit: None,
            text: "which?".into(),
            form: None,
            expires_at: Timestamp::default(),
        })
    }

    #[test]
    fn a_question_is_asked_when_its_turn_comes() {
        let mut asks = Asks::default();
        asks.listen();
        assert!(asks.hear(&inquires(1)).unwrap().contains("your answer"));
        assert_eq!(asks.hear(&inquires(2)), None, "one after the other");
        let said = Word::Question(QuestionId::from_bits(1), serde_json::json!({"answer": "blue"}));
        assert_eq!(asks.understand("blue\n"), Some(Ok(said)));
        let closed = |number, answers, by: &str| {
            Event::QuestionAnswered(QuestionAnswered {
                turn: TurnId::from_bits(1),
                question: QuestionId::from_bits(number),
                answers,
                by: by.parse().unwrap(),
            })
        };
        assert_eq!(asks.hear(&closed(1, serde_json::json!({"answer": "blue"}), "admin")), None);
        asks.hear(&inquires(3));
        let told = asks.hear(&closed(2, serde_json::json!({"answer": "red"}), "ann")).unwrap();
        assert!(told.contains("(ann answered)") && told.contains("your answer"), "{told}");
        assert_eq!(asks.hear(&closed(3, Value::Null, "gateway")).unwrap(), "  (nobody answered in time)");
        assert_eq!(asks.open(), None);
    }
}
