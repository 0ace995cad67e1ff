//! Calls that wait for the person at the terminal.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _},
};

use http::Method;
use moongate_protocol::{ApprovalId, Decision, Event, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{talk::Talk, view::View};
use crate::{
    client::{Decide, Decided, Page, Pending},
    exit::Outcome,
    terminal::clean,
};

/// What the person is asked with.
const ASK: &str = "  run it? y or n, then Enter (Ctrl-C stops the turn)";

/// The calls the person has to decide on, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    open: VecDeque<ApprovalId>,
    /// Decided here: the event says nothing new.
    own: Option<ApprovalId>,
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
                self.open.retain(|open| *open != resolved.approval);
                if self.own.take_if(|own| *own == resolved.approval).is_some() {
                    return None;
                }
                let who = &resolved.by;
                Some(match resolved.decision {
                    Decision::Approve => format!("  ({who} said yes)"),
                    Decision::Deny if who.as_str() == "gateway" => "  (nobody said anything in time)".into(),
                    Decision::Deny => format!("  ({who} said no)"),
                })
            }
            event if event.ends_turn().is_some() => {
                self.open.clear();
                None
            }
            _ => None,
        }
    }

    /// Remembers to ask; what the person is told.
    pub(crate) fn ask(&mut self, approval: ApprovalId) -> Option<String> {
        if !self.listens {
            return None;
        }
        self.open.push_back(approval);
        Some(ASK.to_owned())
    }

    /// What waits for the person's word, when a person can be asked.
    pub(crate) fn open(&self) -> Option<ApprovalId> {
        self.open.front().copied()
    }

    /// The person's word on what waits longest, when they typed one; a text for them when it was none.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(crate) fn typed(&mut self) -> io::Result<Option<Result<(ApprovalId, Decision), &'static str>>> {
        let Some(approval) = self.open() else { return Ok(None) };
        let stdin = io::stdin();
        let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
        // A terminal gives whole lines: where there is something to read, reading does not wait.
        if poll(&mut waits, Some(&Timespec::default()))? == 0 {
            return Ok(None);
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            (self.listens, self.open) = (false, VecDeque::new());
            return Ok(Some(Err("  nobody answers here any more; `moongate approvals` does")));
        }
        Ok(Some(self.understand(approval, &line)))
    }

    fn understand(
        &mut self,
        approval: ApprovalId,
        line: &str,
    ) -> Result<(ApprovalId, Decision), &'static str> {
        let decision = match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Decision::Approve,
            "n" | "no" => Decision::Deny,
            _ => return Err(ASK),
        };
        self.open.retain(|open| *open != approval);
        self.own = Some(approval);
        Ok((approval, decision))
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
        Ok(())
    }

    /// Sends the person's word, when they typed one.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(super) async fn listen(&mut self, view: &mut dyn View) -> Outcome {
        let (approval, decision) = match self.asks.typed()? {
            None => return Ok(()),
            Some(Err(text)) => {
                view.aside(text);
                return Ok(());
            }
            Some(Ok(word)) => word,
        };
        let decide = Decide { decision, reason: None };
        let sent =
            self.client.send::<Decided>(Method::POST, &format!("/approvals/{approval}"), &decide).await;
        match sent {
            Ok(Decided { already: true, by, .. }) => view.aside(&format!("  ({by} decided before you)")),
            Ok(_) => {}
            Err(error) => view.aside(&error.to_string()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use moongate_protocol::{ApprovalRequested, ApprovalResolved, Timestamp, TurnCancelled, TurnId};

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
        assert_eq!(asks.understand(id(1), "perhaps\n"), Err(ASK));
        assert_eq!(asks.understand(id(1), " Yes \n"), Ok((id(1), Decision::Approve)));
        assert_eq!(asks.hear(&decided(1, Decision::Approve, "admin")), None, "it was this person");
        assert_eq!(asks.hear(&decided(2, Decision::Deny, "ann")).unwrap(), "  (ann said no)");
        assert_eq!(asks.open(), Some(id(3)));
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
}
