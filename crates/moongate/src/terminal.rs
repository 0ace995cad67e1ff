//! What a terminal shows: colours where they are wanted, tables, and nothing a text could do to it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use unicode_width::UnicodeWidthStr as _;

use crate::{config::Environment, exit::Outcome};

/// Width of a line where no terminal says it.
const USUAL_WIDTH: usize = 100;

/// What the output goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Standard output is a terminal.
    pub(crate) is_terminal: bool,
    /// A person types at it, too.
    pub(crate) is_interactive: bool,
    /// Standard error is a terminal.
    pub(crate) shows_status: bool,
    /// Colours are wanted.
    pub(crate) color: bool,
    /// Columns.
    pub(crate) width: usize,
}

impl Terminal {
    /// What this process writes to.
    pub(crate) fn find(env: &Environment) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let found = Self {
            is_terminal,
            is_interactive: is_terminal && io::stdin().is_terminal(),
            shows_status: io::stderr().is_terminal() && !env.no_color(),
            color: is_terminal && !env.no_color(),
            width: USUAL_WIDTH,
        };
        found.measured()
    }

    /// The same, as wide as it is now.
    pub(crate) fn measured(self) -> Self {
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self { width: width.filter(|width| *width >= 20).unwrap_or(self.width), ..self }
    }

    /// A text in a style, where colours are wanted.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.color { format!("{}{text}{RESET}", style.code()) } else { text.to_owned() }
    }
}

/// Ends every style.
pub(crate) const RESET: &str = "\x1b[0m";

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Important.
    Bold,
    /// Beside the matter.
    Dim,
    /// Code.
    Code,
    /// A heading.
    Heading,
    /// Something went wrong.
    Bad,
    /// The person's own.
    Own,
}

impl Style {
    /// What switches it on.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Code => "\x1b[36m",
            Self::Heading => "\x1b[1;34m",
            Self::Bad => "\x1b[31m",
            Self::Own => "\x1b[1;32m",
        }
    }
}

/// A text without what could move the cursor, change the title or hide something.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_bad(c) { '\u{fffd}' } else { c }).collect::<String>().into()
}

/// A text on one line, cut to a width with an ellipsis.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.width() <= width {
        return line;
    }
    let mut cut = String::new();
    for c in line.chars() {
        if cut.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) >= width {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// Rows in aligned columns.
pub(crate) struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
    /// The column that is cut where the terminal is too narrow.
    flexible: usize,
}

impl<const N: usize> Table<N> {
    /// A table with these heads; `flexible` is the column that is cut where room is short.
    pub(crate) fn new(heads: [&'static str; N], flexible: usize) -> Self {
        Self { heads, rows: Vec::new(), flexible }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| one_line(&cell, usize::MAX)));
    }

    /// Writes the table; an empty one is the line `none`.
    pub(crate) fn print(&self, to: &mut impl io::Write, terminal: Terminal, none: &str) -> Outcome {
        if self.rows.is_empty() {
            writeln!(to, "{none}")?;
            return Ok(());
        }
        let mut widths: [usize; N] = self.heads.map(|head| head.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if terminal.is_terminal {
            let others: usize = widths.iter().sum::<usize>() - widths[self.flexible] + 2 * (N - 1);
            let least = self.heads[self.flexible].width().max(12);
            let room = terminal.width.saturating_sub(others).max(least);
            widths[self.flexible] = widths[self.flexible].min(room);
        }
        let heads = self.heads.map(str::to_owned);
        writeln!(to, "{}", terminal.paint(Style::Dim, &self.line(&heads, &widths)))?;
        for row in &self.rows {
            writeln!(to, "{}", self.line(row, &widths))?;
        }
        Ok(())
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let cell = if column == self.flexible { one_line(cell, *width) } else { cell.clone() };
            let fill = width.saturating_sub(cell.width()) + 2;
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell}{:fill$}", "");
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\u{9b}d\n\te"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\n\te");
        assert!(matches!(clean("plain ü 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_are_cut_by_columns_and_not_by_bytes() {
        assert_eq!(one_line("a  b\nc", 10), "a b c");
        assert_eq!(one_line("漢字漢字漢字", 7), "漢字漢…");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["ID", "TITLE"], 1);
        table.row(["1".into(), "漢字".into()]);
        table.row(["twelve".into(), "x\x1b".into()]);
        let terminal = Terminal {
            is_terminal: false,
            is_interactive: false,
            shows_status: false,
            color: false,
            width: 80,
        };
        let mut shown = Vec::new();
        table.print(&mut shown, terminal, "none").unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "ID      TITLE\n1       漢字\ntwelve  x\u{fffd}\n");
    }
}
