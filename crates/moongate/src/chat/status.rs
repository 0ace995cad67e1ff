//! One line that says what is being waited for, on a terminal only, and that leaves no trace.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use crate::terminal::{RESET, Style, Terminal, one_line};

/// Waits shorter than this are not worth a line.
const PATIENCE: Duration = Duration::from_millis(400);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const CLEAR: &str = "\r\x1b[K";

/// What is being waited for.
pub(crate) struct Status {
    terminal: Terminal,
    wait: Option<(String, Instant)>,
    frame: usize,
    visible: bool,
}

impl Status {
    pub(crate) fn new(terminal: Terminal) -> Self {
        Self { terminal, wait: None, frame: 0, visible: false }
    }

    /// A wait begins, or goes on as something else.
    pub(crate) fn wait(&mut self, what: &str) {
        if self.wait.as_ref().is_none_or(|(known, _)| known != what) {
            self.wait = Some((what.to_owned(), Instant::now()));
        }
    }

    /// Nothing is waited for.
    pub(crate) fn end(&mut self) {
        self.hide();
        self.wait = None;
    }

    /// Takes the line away, so that something else can be written.
    pub(crate) fn hide(&mut self) {
        if std::mem::take(&mut self.visible) {
            self.write(CLEAR);
        }
    }

    /// Draws the line anew.
    pub(crate) fn tick(&mut self) {
        let Some((what, since)) = self.wait.as_ref().filter(|_| self.terminal.shows_status) else { return };
        let waited = since.elapsed();
        if waited < PATIENCE {
            return;
        }
        self.frame = (self.frame + 1) % FRAMES.len();
        let text = format!("{} {what} {} s · Ctrl-C stops", FRAMES[self.frame], waited.as_secs());
        let text = one_line(&text, self.terminal.width.saturating_sub(1));
        let line = format!("{CLEAR}{}{text}{RESET}", Style::Dim.code());
        self.visible = true;
        self.write(&line);
    }

    fn write(&self, text: &str) {
        if self.terminal.shows_status {
            let mut stderr = io::stderr().lock();
            // A status line nobody sees is no loss.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}
