//! The conversation for people: the answer as it is written, everything else beside it.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::Instant,
};

use moongate_protocol::{
    Delta, DeltaKind, Envelope, Event, InputAccepted, InputId, ItemId, MessageCompleted, Notice, Part, Role,
    StopReason, ToolCalled, ToolFinished, ToolOutcome, TurnFailed, UsageTotal, WaitingOn,
};

use super::{
    item::{Change, Shown},
    markdown::Markdown,
    status::Status,
    view::View,
    wrap::Wrap,
};
use crate::{
    exit::Outcome,
    terminal::{Style, Terminal, clean, one_line},
};

/// Widest one-liner of a tool call, where the terminal is wider.
const TOOL_WIDTH: usize = 120;

/// Shows a conversation to a person.
pub(crate) struct Render {
    terminal: Terminal,
    status: Status,
    /// Only the answer goes to standard output.
    answer_only: bool,
    own: Option<InputId>,
    begun: Instant,
    markdown: Markdown,
    /// Reasoning.
    wrap: Wrap,
    /// What was shown of items that are being written.
    shown: HashMap<ItemId, Shown>,
    /// The kind of text the cursor stands in.
    writing: Option<DeltaKind>,
    /// The cursor stands behind the line's beginning.
    mid_line: bool,
    /// An answer was shown since the turn began.
    answered: bool,
}

impl Render {
    /// A view on this terminal. With `answer_only` nothing but the answer goes to standard output.
    pub(crate) fn new(terminal: Terminal, answer_only: bool) -> Self {
        Self {
            terminal,
            status: Status::new(terminal),
            answer_only,
            own: None,
            begun: Instant::now(),
            markdown: Markdown::new(width(terminal)),
            wrap: Wrap::at(width(terminal)),
            shown: HashMap::new(),
            writing: None,
            mid_line: false,
            answered: false,
        }
    }

    /// A line of an earlier conversation.
    pub(crate) fn past(&mut self, role: Role, parts: &[Part]) -> Outcome {
        let text = Part::join_text(parts);
        match role {
            Role::User => self.line(&self.terminal.paint(Style::Own, &format!("› {}", clean(&text)))),
            Role::Assistant if text.is_empty() => Ok(()),
            Role::Assistant => {
                self.write_text(DeltaKind::Text, &text)?;
                self.end_text()?;
                self.line("")
            }
        }
    }

    /// A line beside the answer.
    fn beside(&mut self, style: Style, text: &str) -> Outcome {
        self.end_text()?;
        if self.answer_only {
            if self.terminal.shows_status {
                writeln!(io::stderr().lock(), "{}{text}{}", style.code(), crate::terminal::RESET)?;
            }
            return Ok(());
        }
        self.line(&self.terminal.paint(style, text))
    }

    fn line(&mut self, text: &str) -> Outcome {
        self.status.hide();
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// Shows what changed of an item's text.
    fn update(
        &mut self,
        item: ItemId,
        kind: DeltaKind,
        change: impl FnOnce(&mut Shown) -> Change,
    ) -> Outcome {
        let mut shown = self.shown.remove(&item).unwrap_or_default();
        let done = match change(&mut shown) {
            Change::Nothing => Ok(()),
            Change::More(from) => self.write_text(kind, &shown.text[from..]),
            Change::Other => {
                self.beside(Style::Dim, "(the answer begins anew)")?;
                self.write_text(kind, &shown.text)
            }
        };
        self.shown.insert(item, shown);
        done
    }

    fn write_text(&mut self, kind: DeltaKind, text: &str) -> Outcome {
        if self.writing != Some(kind) {
            self.end_text()?;
            if kind == DeltaKind::Text && std::mem::replace(&mut self.answered, true) {
                self.line("")?;
            }
            self.writing = Some(kind);
        }
        self.status.end();
        let text = clean(text);
        let mut drawn = String::with_capacity(text.len() + 16);
        match kind {
            DeltaKind::Text if self.terminal.color => self.markdown.push(&text, &mut drawn),
            DeltaKind::Text => drawn.push_str(&text),
            _ => {
                let mut wrapped = String::with_capacity(text.len());
                self.wrap.text(&text, &mut wrapped);
                drawn.push_str(&self.terminal.paint(Style::Dim, &wrapped));
            }
        }
        self.mid_line = !text.ends_with('\n');
        if kind == DeltaKind::Text || !self.answer_only {
            let mut stdout = io::stdout().lock();
            stdout.write_all(drawn.as_bytes())?;
            return Ok(stdout.flush()?);
        }
        if self.terminal.shows_status {
            io::stderr().lock().write_all(drawn.as_bytes())?;
        }
        Ok(())
    }

    /// Ends the text the cursor stands in, and its line.
    fn end_text(&mut self) -> Outcome {
        self.status.hide();
        let Some(kind) = self.writing.take() else { return Ok(()) };
        let mut rest = String::new();
        match kind {
            DeltaKind::Text if self.terminal.color => self.markdown.end(&mut rest),
            DeltaKind::Text => {}
            _ => {
                self.wrap.flush(&mut rest);
                rest = self.terminal.paint(Style::Dim, &rest);
                self.wrap = Wrap::at(width(self.terminal));
            }
        }
        if std::mem::take(&mut self.mid_line) {
            rest.push('\n');
        }
        if kind == DeltaKind::Text || !self.answer_only {
            let mut stdout = io::stdout().lock();
            stdout.write_all(rest.as_bytes())?;
            return Ok(stdout.flush()?);
        }
        if self.terminal.shows_status {
            io::stderr().lock().write_all(rest.as_bytes())?;
        }
        Ok(())
    }

    fn input(&mut self, input: &InputAccepted) -> Outcome {
        if self.own == Some(input.input) {
            return Ok(());
        }
        let text =
            format!("› {} (from another client)", one_line(&Part::join_text(&input.parts), TOOL_WIDTH));
        self.beside(Style::Own, &text)
    }

    fn message(&mut self, message: &MessageCompleted) -> Outcome {
        if message.role == Role::User {
            return Ok(());
        }
        for part in &message.parts {
            if let Part::Reasoning { item, text, .. } = part
                && !text.is_empty()
            {
                self.update(*item, DeltaKind::Reasoning, |shown| shown.complete(text))?;
            }
        }
        let text = Part::join_text(&message.parts);
        if !text.is_empty() {
            self.update(message.item, DeltaKind::Text, |shown| shown.complete(&text))?;
        }
        self.end_text()?;
        self.shown.clear();
        match message.stop_reason {
            Some(StopReason::MaxTokens) => {
                self.beside(Style::Dim, "(cut: the most tokens an answer may have)")
            }
            Some(StopReason::Refusal) => self.beside(Style::Dim, "(the model, or its provider, refused)"),
            _ => Ok(()),
        }
    }

    fn called(&mut self, call: &ToolCalled) -> Outcome {
        let width = self.terminal.width.min(TOOL_WIDTH);
        let text = one_line(&format!("⚙ {} {}", call.tool, call.arguments), width);
        self.beside(Style::Dim, &text)?;
        self.status.wait(&format!("{} runs", call.tool));
        Ok(())
    }

    fn finished(&mut self, finished: &ToolFinished) -> Outcome {
        let (mark, word) = match finished.outcome {
            ToolOutcome::Ok => ("✓", ""),
            ToolOutcome::Error => ("✗", "failed: "),
            ToolOutcome::Denied => ("✗", "denied: "),
            ToolOutcome::Cancelled => ("✗", "stopped "),
            ToolOutcome::Unknown => ("?", "nobody knows how it ended: "),
        };
        let said = Part::join_text(&finished.content);
        let text = format!("  {mark} {} ms · {word}{said}", finished.duration_ms);
        self.beside(Style::Dim, &one_line_indented(&text, self.terminal.width.min(TOOL_WIDTH)))
    }

    fn failed(&mut self, failed: &TurnFailed) -> Outcome {
        self.end_text()?;
        self.status.end();
        let again = if failed.retryable { " Saying it again may work." } else { "" };
        let text = format!("✗ {} ({}){again}", clean(&failed.message), failed.code);
        if self.answer_only {
            // The exit code and the message that comes with it say it.
            return Ok(());
        }
        self.line(&self.terminal.paint(Style::Bad, &text))
    }

    fn completed(&mut self, usage: &UsageTotal) -> Outcome {
        let tokens = usage.tokens;
        let cached =
            if tokens.cache_read > 0 { format!(" ({} cached)", tokens.cache_read) } else { String::new() };
        let cost = usage
            .cost
            .filter(|cost| cost.0 > 0)
            .map_or_else(String::new, |cost| format!(" · {}", dollars(cost.0)));
        let seconds = self.begun.elapsed().as_secs_f32();
        let text = format!("{} in{cached} · {} out{cost} · {seconds:.1} s", tokens.input, tokens.output);
        self.beside(Style::Dim, &text)?;
        if self.answer_only { Ok(()) } else { self.line("") }
    }
}

impl View for Render {
    fn own(&mut self, input: InputId) {
        self.own = Some(input);
        self.terminal = self.terminal.measured();
        self.markdown = Markdown::new(width(self.terminal));
        self.wrap = Wrap::at(width(self.terminal));
        self.begun = Instant::now();
        self.answered = false;
    }

    fn event(&mut self, envelope: &Envelope, _: &str) -> Outcome {
        match &envelope.event {
            Event::InputAccepted(input) => self.input(input),
            Event::TurnStarted(_) => {
                self.status.wait("waiting for the model");
                Ok(())
            }
            Event::TurnResumed(resumed) => {
                let text =
                    format!("(the server was restarted; the turn goes on, attempt {})", resumed.attempt);
                self.beside(Style::Dim, &text)
            }
            Event::MessageCompleted(message) => self.message(message),
            Event::ToolCalled(call) => self.called(call),
            Event::ToolFinished(finished) => self.finished(finished),
            Event::ApprovalRequested(asked) => {
                let text = format!("? {}", clean(&asked.plan));
                self.beside(Style::Bold, &text)?;
                if let Some(preview) = &asked.preview {
                    self.beside(Style::Dim, clean(preview).trim_end())?;
                }
                self.beside(Style::Bold, &format!("  moongate approvals approve {}", asked.approval))
            }
            Event::QuestionAsked(asked) => self.beside(Style::Bold, &format!("? {}", clean(&asked.text))),
            Event::ContextCompacted(_) => self.beside(Style::Dim, "(older messages were summarised)"),
            Event::TurnFailed(failed) => self.failed(failed),
            Event::TurnCancelled(_) => {
                self.status.end();
                self.beside(Style::Dim, "(stopped)")
            }
            Event::TurnCompleted(completed) => {
                self.status.end();
                self.completed(&completed.usage)
            }
            _ => Ok(()),
        }
    }

    fn delta(&mut self, delta: &Delta) -> Outcome {
        match delta.kind {
            DeltaKind::Text | DeltaKind::Reasoning => {
                self.update(delta.item, delta.kind, |shown| shown.splice(delta))
            }
            DeltaKind::ToolArguments => {
                if let Some(tool) = &delta.tool {
                    self.end_text()?;
                    self.status.wait(&format!("the model writes a call of {tool}"));
                }
                Ok(())
            }
            DeltaKind::ToolOutput => Ok(()),
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Waiting { on, .. } => self.status.wait(match on {
                WaitingOn::Model => "waiting for the model",
                WaitingOn::Tool => "a tool runs",
                WaitingOn::Approval => "waiting for somebody's approval",
                WaitingOn::Question => "waiting for somebody's answer",
                WaitingOn::RateLimit => "waiting for the provider's rate limit",
                WaitingOn::Capacity => "waiting for another turn to end",
            }),
            Notice::Queue { .. } | Notice::Draining => {}
        }
    }

    fn aside(&mut self, text: &str) {
        // What cannot be shown beside the answer is no reason to stop it.
        let _ = self.beside(Style::Dim, text);
    }

    fn tick(&mut self) {
        if !self.mid_line {
            self.status.tick();
        }
    }
}

/// Where lines are broken; nowhere in a file.
fn width(terminal: Terminal) -> usize {
    if terminal.is_terminal { terminal.width } else { 0 }
}

fn one_line_indented(text: &str, width: usize) -> String {
    format!("  {}", one_line(text, width.saturating_sub(2)))
}

/// An amount in millionths of a dollar, with as many places as it takes to see it.
fn dollars(micro: u64) -> String {
    let (whole, part) = (micro / 1_000_000, micro % 1_000_000);
    if micro >= 1_000_000 {
        format!("${whole}.{:02}", part / 10_000)
    } else {
        format!("$0.{part:06}").trim_end_matches('0').to_owned()
    }
}
