//! The line a person types at: history, several lines, editing.

use std::{borrow::Cow, path::PathBuf};

use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    Signal, ValidationResult, Validator,
};

use crate::{
    exit::{Failure, Outcome},
    terminal::Terminal,
};

/// Lines the history keeps.
const HISTORY_LINES: usize = 2_000;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line, or several.
    Text(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D: no more.
    End,
}

/// A prompt with its history.
pub(crate) struct Editor(Reedline);

impl Editor {
    /// An editor that keeps its history in a file.
    pub(crate) fn new(history: PathBuf, terminal: Terminal) -> Self {
        let editor = Reedline::create()
            .with_validator(Box::new(Continued))
            .use_bracketed_paste(true)
            .with_ansi_colors(terminal.color);
        // Without its file the history is that of this conversation.
        Self(match FileBackedHistory::with_file(HISTORY_LINES, history) {
            Ok(history) => editor.with_history(Box::new(history)),
            Err(_) => editor,
        })
    }

    /// Waits for a line. Blocks: not for an async task.
    ///
    /// # Errors
    /// When the terminal fails.
    pub(crate) fn read(&mut self) -> Outcome<Typed> {
        match self.0.read_line(&Sign) {
            Ok(Signal::Success(text)) => Ok(Typed::Text(joined(&text))),
            Ok(Signal::CtrlC) => Ok(Typed::Interrupt),
            Ok(Signal::CtrlD) => Ok(Typed::End),
            Ok(_) => Ok(Typed::Text(String::new())),
            Err(error) => Err(Failure::Failed(format!("the terminal cannot be read: {error}"))),
        }
    }
}

/// Takes out the backslashes that only said that a line goes on.
fn joined(text: &str) -> String {
    text.replace("\\\n", "\n")
}

/// A backslash at the end begins a new line.
struct Continued;

impl Validator for Continued {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.ends_with('\\') { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// What stands before what is typed.
struct Sign;

impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "› ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "… ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = matches!(search.status, PromptHistorySearchStatus::Failing);
        let word = if failing { "not found" } else { "search" };
        format!("({word}: {}) ", search.term).into()
    }
}
