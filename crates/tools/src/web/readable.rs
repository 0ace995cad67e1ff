//! The text of a page: what a person would read, with its headings, lists and links.

use std::fmt::Write as _;

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Elements whose text nobody reads.
const SILENT: &[&[u8]] = &[
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"svg",
    b"math",
    b"iframe",
    b"object",
    b"canvas",
    b"head",
    b"select",
    b"dialog",
];
/// Elements that begin a line of their own.
const BLOCKS: &[&[u8]] = &[
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"dd",
    b"div",
    b"dl",
    b"dt",
    b"fieldset",
    b"figcaption",
    b"figure",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"header",
    b"hr",
    b"li",
    b"main",
    b"nav",
    b"ol",
    b"p",
    b"pre",
    b"section",
    b"table",
    b"tr",
    b"ul",
];
/// Bytes of a link that are shown.
const LINK_BYTES: usize = 300;

/// The title of a page and its text.
pub(super) fn readable(html: &str) -> (Option<String>, String) {
    let mut emitter = DefaultEmitter::default();
    // The text of scripts and styles is no markup.
    emitter.naively_switch_states(true);
    let mut page = Page::default();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Token::StartTag(tag) => {
                let link = tag.attributes.get(b"href".as_slice());
                let link = link.map(|value| String::from_utf8_lossy(value).into_owned());
                page.open(&tag.name, link.filter(|_| **tag.name == *b"a"), tag.self_closing);
            }
            Token::EndTag(tag) => page.close(&tag.name),
            Token::String(text) => page.say(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    let title = page.title.split_whitespace().collect::<Vec<_>>().join(" ");
    ((!title.is_empty()).then_some(title), page.text.trim().to_owned())
}

#[derive(Default)]
struct Page {
    text: String,
    title: String,
    in_title: bool,
    /// The silent element that is open, and how many of its name are open in it.
    silent: Option<(Vec<u8>, usize)>,
    preformatted: usize,
    link: Option<String>,
}

impl Page {
    fn open(&mut self, name: &[u8], link: Option<String>, is_closed: bool) {
        if name == b"title" && self.title.is_empty() {
            self.in_title = true;
            return;
        }
        if let Some((silent, depth)) = &mut self.silent {
            // Whatever a head forgot to close, the body ends it.
            if name == b"body" && silent == b"head" {
                self.silent = None;
            } else if silent == name && !is_closed {
                *depth += 1;
            }
            return;
        }
        if SILENT.contains(&name) && !is_closed {
            self.silent = Some((name.to_vec(), 1));
            return;
        }
        if BLOCKS.contains(&name) {
            self.line();
        }
        match name {
            b"br" => self.text.push('\n'),
            b"hr" => self.text.push_str("---\n"),
            b"li" => self.text.push_str("- "),
            b"td" | b"th" => self.text.push_str(" | "),
            b"pre" => self.preformatted += 1,
            b"a" => self.link = link,
            [b'h', level @ b'1'..=b'6'] => {
                self.text.push('\n');
                self.text.extend(std::iter::repeat_n('#', usize::from(level - b'0')));
                self.text.push(' ');
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        if name == b"title" {
            self.in_title = false;
        }
        if let Some((silent, depth)) = &mut self.silent {
            if silent == name {
                *depth -= 1;
                if *depth == 0 {
                    self.silent = None;
                }
            }
            return;
        }
        match name {
            b"pre" => self.preformatted = self.preformatted.saturating_sub(1),
            b"a" => {
                let link = self.link.take().filter(|link| !link.starts_with('#') && link.len() <= LINK_BYTES);
                if let Some(link) = link {
                    let _ = write!(self.text, " ({link})");
                }
            }
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.line();
        }
    }

    fn say(&mut self, words: &str) {
        if self.in_title {
            self.title.push_str(words);
            return;
        }
        if self.silent.is_some() {
            return;
        }
        if self.preformatted > 0 {
            self.text.push_str(words);
            return;
        }
        let begins_apart = words.starts_with(char::is_whitespace);
        if begins_apart && !self.text.is_empty() && !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
        let mut first = true;
        for word in words.split_whitespace() {
            if !std::mem::take(&mut first) {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
        if !first && words.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
    }

    /// Begins a line, with at most one empty one before it.
    fn line(&mut self) {
        let length = self.text.trim_end_matches(' ').len();
        self.text.truncate(length);
        if !self.text.is_empty() && !self.text.ends_with("\n\n") && !self.text.ends_with("- ") {
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_a_person_reads_it() {
        let html = "<!doctype html><html><head><title>A &amp; B</title><style>p{color:red}</style>\
            <script>if (a < b) alert('<p>no</p>')</script></head><body><nav><a href=\"#x\">Skip</a></nav>\
            <h1>Head</h1><p>One   <b>bold</b>\n word &lt;tag&gt; <a href=\"/next\">next</a>.</p>\
            <ul><li>first<li>second</ul><pre>  a\n   b</pre><svg><text>no</text></svg><p hidden>seen</body></html>";
        let (title, text) = readable(html);
        assert_eq!(title.as_deref(), Some("A & B"));
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        let wanted = [
            "Skip",
            "# Head",
            "One bold word <tag> next (/next).",
            "- first",
            "- second",
            "  a",
            "   b",
            "seen",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn what_is_no_page_is_text_and_never_a_panic() {
        for (html, text) in [
            ("", ""),
            ("plain", "plain"),
            ("<p", ""),
            ("<script>never closed <p>x", ""),
            ("a</p></p></ul>b<br>c", "a\n\nb\nc"),
            ("<a href=x>", ""),
            ("<title>t", ""),
            ("\u{0}\u{fffd}é", "\u{fffd}é"),
        ] {
            let read = readable(html).1;
            assert!(read == text || html.contains('\0'), "{html:?}: {read:?}");
        }
        let deep = "<div>".repeat(100_000) + "x";
        assert_eq!(readable(&deep).1, "x");
    }
}
