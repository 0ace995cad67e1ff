//! Names and paths of files as a model is shown them: one line each, with nothing in it that cannot be seen.

use std::fmt::Write as _;

use moongate_core::is_hidden;

/// A name or path on one line. One with odd characters is a JSON string, which a model can hand back as it is; bytes
/// that are no text are shown as `\xNN`, and cannot be handed back.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().any(is_odd) || text.starts_with('"') => quoted(text),
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

fn is_odd(c: char) -> bool {
    is_hidden(c)
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_odd(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_handed_back() {
        for name in ["a\nb", "\u{1b}[2Jx", "\u{202e}gpj.exe", "\"quoted\"", "back\\slash\u{7}", "\u{e0041}"] {
            let shown = shown(name.as_bytes());
            assert!(!shown.chars().any(is_hidden), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
        }
        assert_eq!(shown("straße 東京.txt".as_bytes()), "straße 東京.txt");
        assert_eq!(shown(b"\xff\xfe.txt"), r"\xff\xfe.txt");
    }
}
