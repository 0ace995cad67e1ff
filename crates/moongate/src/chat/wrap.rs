//! Breaks lines between words, while the text is still being written.

use unicode_width::UnicodeWidthChar as _;

/// Writes characters and styles, and breaks lines that grow too wide.
#[derive(Debug, Default)]
pub(crate) struct Wrap {
    /// Columns of a line; 0 breaks nothing.
    width: usize,
    column: usize,
    /// Columns that following lines of this one begin with.
    indent: usize,
    /// The word being written, with the styles that fell into it.
    word: String,
    word_width: usize,
    /// The line is shown as it is.
    verbatim: bool,
}

impl Wrap {
    /// Breaks lines at this width; 0 breaks none.
    pub(crate) fn at(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// The same width, at the beginning of a line.
    pub(crate) fn anew(self) -> Self {
        Self::at(self.width)
    }

    /// The rest of the line is shown as it is.
    pub(crate) fn verbatim(&mut self) {
        self.verbatim = true;
    }

    /// Lines that follow this one by breaking begin this far in.
    pub(crate) fn indent(&mut self, columns: usize) {
        self.indent = columns;
    }

    /// Writes a style, which takes no room.
    pub(crate) fn style(&mut self, code: &str, out: &mut String) {
        if self.word.is_empty() { out.push_str(code) } else { self.word.push_str(code) }
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str, out: &mut String) {
        text.chars().for_each(|c| self.char(c, out));
    }

    /// Writes a character.
    pub(crate) fn char(&mut self, c: char, out: &mut String) {
        let wide = c.width().unwrap_or(0);
        match c {
            '\n' => {
                self.flush(out);
                out.push('\n');
                (self.column, self.indent, self.verbatim) = (0, 0, false);
            }
            _ if self.width == 0 || self.verbatim => {
                self.flush(out);
                out.push(c);
                self.column += wide;
            }
            ' ' | '\t' => {
                self.flush(out);
                // A space that would begin a line is the break itself.
                if self.column < self.width {
                    out.push(c);
                    self.column += wide.max(1);
                }
            }
            _ => {
                self.word.push(c);
                self.word_width += wide;
                // Text without spaces breaks anywhere; so does a word that fills a line.
                if wide == 2 || self.word_width >= self.width {
                    self.flush(out);
                }
            }
        }
    }

    /// Shows the word that is held back.
    pub(crate) fn flush(&mut self, out: &mut String) {
        let is_full = self.column > self.indent && self.column + self.word_width > self.width;
        if is_full && self.word_width > 0 && self.width > 0 && !self.verbatim {
            out.push('\n');
            out.push_str(&" ".repeat(self.indent));
            self.column = self.indent;
        }
        out.push_str(&self.word);
        self.column += self.word_width;
        self.word.clear();
        self.word_width = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(width: usize, indent: usize, text: &str) -> String {
        let (mut wrap, mut out) = (Wrap::at(width), String::new());
        wrap.indent(indent);
        wrap.text(text, &mut out);
        wrap.flush(&mut out);
        out
    }

    #[test]
    fn lines_break_between_words_and_long_words_anywhere() {
        assert_eq!(wrap(10, 0, "one two three four"), "one two \nthree four");
        assert_eq!(wrap(10, 2, "- one two three"), "- one two \n  three");
        assert_eq!(wrap(5, 0, "abcdefgh i"), "abcde\nfgh i");
        assert_eq!(wrap(6, 0, "漢字漢字漢"), "漢字漢\n字漢");
        assert_eq!(wrap(4, 0, "a\n\nb c d e"), "a\n\nb c \nd e");
        assert_eq!(wrap(0, 0, "one two three four"), "one two three four");
    }

    #[test]
    fn styles_take_no_room_and_stay_with_their_word() {
        let (mut wrap, mut out) = (Wrap::at(8), String::new());
        wrap.text("one ", &mut out);
        wrap.style("<", &mut out);
        wrap.text("two", &mut out);
        wrap.style(">", &mut out);
        wrap.text("x three", &mut out);
        wrap.flush(&mut out);
        assert_eq!(out, "one <two>x\nthree");
    }
}
