//! Markdown drawn lightly while it is still being written: headings, bold, code, lists and quotes. Nothing is
//! held back longer than it takes to know what a mark means.

use super::wrap::Wrap;
use crate::terminal::{RESET, Style};

/// Draws markdown as it arrives.
#[derive(Debug, Default)]
pub(crate) struct Markdown {
    /// Marks whose meaning the next character decides.
    held: String,
    line: Line,
    /// Inside a block of code.
    fenced: bool,
    bold: bool,
    /// Length of the run of backticks that opened inline code; 0 outside.
    code: usize,
    heading: bool,
    wrap: Wrap,
}

/// Where in its line the writing is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Before anything but spaces.
    #[default]
    Start,
    /// On the line that opens or closes a block of code.
    Fence,
    /// Anywhere else.
    Inside,
}

impl Markdown {
    /// Draws for a terminal of this width; 0 breaks no lines.
    pub(crate) fn new(width: usize) -> Self {
        Self { wrap: Wrap::at(width), ..Self::default() }
    }

    /// Takes more text in and hands out what can be shown of it.
    pub(crate) fn push(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            self.take(c, out);
        }
    }

    /// Ends the text: what was held back is shown as it is.
    pub(crate) fn end(&mut self, out: &mut String) {
        self.release('\n', out);
        let styled = self.fenced || self.bold || self.code > 0 || self.heading || self.line == Line::Fence;
        if styled {
            self.wrap.style(RESET, out);
        }
        self.wrap.flush(out);
        let wrap = std::mem::take(&mut self.wrap);
        *self = Self { wrap: wrap.anew(), ..Self::default() };
    }

    fn take(&mut self, c: char, out: &mut String) {
        if !self.held.is_empty() {
            if self.goes_on(c) {
                self.held.push(c);
                return;
            }
            if self.release(c, out) {
                return;
            }
        }
        match (self.line, c) {
            (_, '\n') => self.end_line(out),
            (Line::Start, '#' | '-' | '*' | '+' | '>') if !self.fenced => self.held.push(c),
            (Line::Inside, '*') if !self.fenced && self.code == 0 => self.held.push(c),
            (Line::Start, '`') => self.held.push(c),
            (Line::Inside, '`') if !self.fenced => self.held.push(c),
            (Line::Start, ' ') => self.wrap.char(c, out),
            (Line::Start, _) => {
                self.begin(out);
                self.wrap.char(c, out);
            }
            (Line::Fence | Line::Inside, _) => self.wrap.char(c, out),
        }
    }

    /// Whether `c` belongs to the run of marks that is held.
    fn goes_on(&self, c: char) -> bool {
        self.held.ends_with(c) && matches!(c, '#' | '*' | '`')
    }

    /// Decides what the held marks mean, now that `next` is known. Whether `next` was used up.
    fn release(&mut self, next: char, out: &mut String) -> bool {
        let held = std::mem::take(&mut self.held);
        let Some(mark) = held.chars().next() else { return false };
        let at_start = self.line == Line::Start;
        match mark {
            '#' if next == ' ' && held.len() <= 6 => {
                self.line = Line::Inside;
                self.heading = true;
                self.restyle(out);
                return true;
            }
            '-' | '+' | '*' if at_start && held.len() == 1 && next == ' ' => {
                self.line = Line::Inside;
                self.wrap.text("•", out);
                self.wrap.indent(2);
            }
            '>' => {
                self.line = Line::Inside;
                self.wrap.style(Style::Dim.code(), out);
                self.wrap.text("│", out);
                self.wrap.style(RESET, out);
                self.wrap.indent(2);
            }
            '`' if at_start && held.len() >= 3 => {
                self.line = Line::Fence;
                self.fenced = !self.fenced;
                self.wrap.verbatim();
                self.wrap.style(RESET, out);
                self.wrap.style(Style::Dim.code(), out);
                self.wrap.text(&held, out);
            }
            '`' if !self.fenced => self.backticks(held.len(), &held, out),
            '*' if held.len() == 2 && (self.bold || !next.is_whitespace()) => {
                self.line = Line::Inside;
                self.bold = !self.bold;
                self.restyle(out);
            }
            _ => {
                self.begin(out);
                self.wrap.text(&held, out);
            }
        }
        false
    }

    fn backticks(&mut self, run: usize, held: &str, out: &mut String) {
        self.line = Line::Inside;
        match self.code {
            0 => self.code = run,
            open if open == run => self.code = 0,
            _ => {
                self.wrap.text(held, out);
                return;
            }
        }
        self.restyle(out);
    }

    /// The first visible character of a line comes.
    fn begin(&mut self, out: &mut String) {
        if self.line == Line::Start && self.fenced {
            self.wrap.verbatim();
            self.wrap.style(Style::Code.code(), out);
        }
        self.line = Line::Inside;
    }

    /// No mark reaches past its line.
    fn end_line(&mut self, out: &mut String) {
        let styled = self.bold || self.heading || self.code > 0;
        if styled || self.line == Line::Fence || (self.fenced && self.line == Line::Inside) {
            self.wrap.style(RESET, out);
        }
        (self.bold, self.heading, self.code) = (false, false, 0);
        self.line = Line::Start;
        self.wrap.char('\n', out);
    }

    fn restyle(&mut self, out: &mut String) {
        self.wrap.style(RESET, out);
        let on = [(self.heading, Style::Heading), (self.bold, Style::Bold), (self.code > 0, Style::Code)];
        for (_, style) in on.into_iter().filter(|(on, _)| *on) {
            self.wrap.style(style.code(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\nplain **bold** and `code` a*b 2 ** 3\n- one\n* two\n> said\n```rust\nlet x = \
                        **1;\n```\n#hash -dash\n**open\nnext ``a`b``";

    fn draw(pieces: &[&str]) -> String {
        let (mut markdown, mut out) = (Markdown::default(), String::new());
        for piece in pieces {
            markdown.push(piece, &mut out);
        }
        markdown.end(&mut out);
        out
    }

    #[test]
    fn marks_become_styles() {
        let shown = draw(&[TEXT]).replace('\x1b', "^");
        assert_eq!(
            shown,
            "^[0m^[1;34mTitle^[0m\nplain ^[0m^[1mbold^[0m and ^[0m^[36mcode^[0m a*b 2 ** 3\n• one\n• two\n\
             ^[2m│^[0m said\n^[0m^[2m```rust^[0m\n^[36mlet x = **1;^[0m\n^[0m^[2m```^[0m\n#hash -dash\n\
             ^[0m^[1mopen^[0m\nnext ^[0m^[36ma`b^[0m"
        );
    }

    #[test]
    fn cut_anywhere_it_looks_the_same() {
        let whole = draw(&[TEXT]);
        for cut in 0..=TEXT.len() {
            let (first, second) = TEXT.split_at(cut);
            assert_eq!(draw(&[first, second]), whole, "cut at {cut}");
        }
    }
}
