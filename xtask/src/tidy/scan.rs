//! Splits Rust text into code, comments and string literals, so that a rule about one does not see the others.

/// A file's text, line by line, each kind apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The code; comments and the contents of literals are blanks.
    pub(super) code: Vec<String>,
    /// The contents of string literals, with their line, counted from 0.
    pub(super) strings: Vec<(usize, String)>,
}

/// Scans a whole file. On text that is not Rust the result is merely useless.
pub(super) fn scan(text: &str) -> Scanned {
    let mut scanner = Scanner { rest: text, line: String::new(), out: Scanned::default(), previous: '\n' };
    while scanner.step() {}
    let last = std::mem::take(&mut scanner.line);
    scanner.out.code.push(last);
    if text.ends_with('\n') {
        scanner.out.code.pop();
    }
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    line: String,
    out: Scanned,
    /// The last character of code, to tell `r"` from the end of an identifier.
    previous: char,
}

impl Scanner<'_> {
    fn step(&mut self) -> bool {
        let Some(next) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(end);
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(hashes) = self.raw_string() {
            self.literal(hashes.prefix, &format!("\"{}", "#".repeat(hashes.count)), false);
        } else if next == '"' {
            self.literal(1, "\"", true);
        } else if next == '\'' {
            let end = char_literal(self.rest);
            self.keep('\'');
            self.blank(end.saturating_sub(1));
        } else {
            self.keep(next);
        }
        true
    }

    /// Copies one character of code.
    fn keep(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or("");
        self.previous = c;
        self.push(c);
    }

    /// Replaces `length` bytes by blanks.
    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.rest = rest;
        for c in gone.chars() {
            self.push(if c == '\n' { '\n' } else { ' ' });
        }
    }

    fn push(&mut self, c: char) {
        if c == '\n' {
            self.out.code.push(std::mem::take(&mut self.line));
        } else {
            self.line.push(c);
        }
    }

    /// A string literal whose contents begin after `prefix` bytes and end before `close`.
    fn literal(&mut self, prefix: usize, close: &str, escapes: bool) {
        let start = self.out.code.len();
        let body = self.rest.get(prefix..).unwrap_or("");
        let end = literal_end(body, close, escapes);
        self.out.strings.push((start, body.get(..end).unwrap_or("").to_owned()));
        self.push('"');
        self.previous = '"';
        self.blank((prefix + end).min(self.rest.len()));
        self.blank(close.len().min(self.rest.len()));
        self.push('"');
    }

    fn raw_string(&self) -> Option<RawStart> {
        if self.previous.is_alphanumeric() || self.previous == '_' {
            return None;
        }
        let after = self.rest.strip_prefix("br").or_else(|| self.rest.strip_prefix('r'))?;
        let count = after.len() - after.trim_start_matches('#').len();
        let opened = after.get(count..)?.starts_with('"');
        let prefix = self.rest.len() - after.len() + count + 1;
        opened.then_some(RawStart { prefix, count })
    }
}

struct RawStart {
    /// Bytes up to and with the opening quote.
    prefix: usize,
    /// Number of hashes.
    count: usize,
}

/// Length of a block comment, nested ones included.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a character literal; 1 for the quote of a lifetime.
fn char_literal(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            text.get(from..).and_then(|rest| rest.find('\'')).map_or(1, |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn literal_end(body: &str, close: &str, escapes: bool) -> usize {
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(close) {
            return at;
        }
        let mut chars = rest.chars();
        let first = chars.next();
        at += first.map_or(1, char::len_utf8);
        if escapes && first == Some('\\') {
            at += chars.next().map_or(0, char::len_utf8);
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_taken_out_of_the_code() {
        let text = "let a = \"x // y\\\" {\"; // json!({\nlet b = r#\"a \"b\" }\"#; /* { /* { */ } */ c\n";
        let scanned = scan(text);
        let code: Vec<String> =
            scanned.code.iter().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(code, ["let a = \" \";", "let b = \" \"; c"]);
        assert_eq!(scanned.strings, [(0, "x // y\\\" {".to_owned()), (1, "a \"b\" }".to_owned())]);
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        let scanned = scan("fn f<'a>(x: &'a str) { g('{', '\\'', '\\u{7b}', b'}', '\"') }");
        assert_eq!(scanned.code[0].matches('{').count(), 1);
        assert_eq!(scanned.code[0].matches('}').count(), 1);
        assert!(scanned.code[0].starts_with("fn f<'a>(x: &'a str) {"));
        assert!(scanned.strings.is_empty());
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a\n\"one\ntwo\"\n/* x\ny */\nb\n";
        let scanned = scan(text);
        assert_eq!(scanned.code.len(), 6);
        assert_eq!(scanned.code[5], "b");
        assert_eq!(scanned.strings, [(1, "one\ntwo".to_owned())]);
    }

    #[test]
    fn an_identifier_that_ends_in_r_begins_no_raw_string() {
        let scanned = scan("for\"x\\\"y\" z");
        assert_eq!(scanned.strings, [(0, "x\\\"y".to_owned())]);
    }
}
