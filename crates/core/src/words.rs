//! How text is cut into words for search, the same in every engine.
//!
//! Chinese, Japanese and Korean are written without spaces between words: each character is a word of its
//! own, and a run of them is searched as a phrase.

use std::{borrow::Cow, iter::Peekable, str::Chars};

/// Most words one search may have; more are ignored.
const MAX_TERMS: usize = 32;

/// One thing to find: words that stand side by side, the last one possibly only begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The words, in order, in lower case; never empty.
    pub words: Vec<String>,
    /// Whether the last word may go on.
    pub prefix: bool,
}

/// The words of a text, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    Words(text.chars().peekable())
}

/// The text with a space on both sides of each character that is a word by itself, for an index that cuts
/// words at spaces.
pub fn spaced(text: &str) -> Cow<'_, str> {
    // In UTF-8 all such characters begin with a byte from here on.
    const FIRST: u8 = 0xE1;
    if !text.bytes().any(|byte| byte >= FIRST) {
        return Cow::Borrowed(text);
    }
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_word_by_itself(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    Cow::Owned(spaced)
}

/// What a person's query asks for: all of these. Nothing in it is syntax.
pub fn terms(query: &str) -> Vec<Term> {
    let asked = query.split_whitespace().map(|piece| Term {
        words: words(piece).collect(),
        prefix: piece.chars().rfind(|c| c.is_alphanumeric()).is_some_and(|c| !is_word_by_itself(c)),
    });
    asked.filter(|term| !term.words.is_empty()).take(MAX_TERMS).collect()
}

impl Term {
    /// Whether `text`, cut into words, holds this term.
    pub fn is_in(&self, text: &[String]) -> bool {
        let matches = |window: &[String]| {
            let whole = self.words.len() - usize::from(self.prefix);
            window[..whole] == self.words[..whole]
                && (!self.prefix || window[whole].starts_with(&self.words[whole]))
        };
        text.windows(self.words.len()).any(matches)
    }
}

struct Words<'a>(Peekable<Chars<'a>>);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let first = self.0.find(|c| c.is_alphanumeric())?;
        let mut word: String = first.to_lowercase().collect();
        if !is_word_by_itself(first) {
            let goes_on = |c: &char| is_mark(*c) || c.is_alphanumeric() && !is_word_by_itself(*c);
            while let Some(c) = self.0.next_if(goes_on) {
                word.extend(c.to_lowercase().filter(|c| !is_mark(*c)));
            }
        }
        Some(word)
    }
}

/// An accent written after its letter.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Han, Hiragana, Katakana and Hangul characters.
fn is_word_by_itself(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x3035
        | 0x3038..=0x303C | 0x3041..=0x30FF | 0x3105..=0x318F | 0x31A0..=0x31BF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF | 0xF900..=0xFAFF
        | 0xFF66..=0xFFDC | 0x1B000..=0x1B16F | 0x20000..=0x3FFFD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> bool {
        let text: Vec<String> = words(text).collect();
        let terms = terms(query);
        !terms.is_empty() && terms.iter().all(|term| term.is_in(&text))
    }

    #[test]
    fn runs_of_cjk_are_phrases_and_other_words_prefixes() {
        assert!(found("東京", "私は東京都に住んでいます"));
        assert!(!found("京東", "私は東京都に住んでいます"));
        assert!(found("你", "你好世界"));
        assert!(found("Wor hel", "hello, world"));
        assert!(!found("orld", "hello, world"));
        assert!(found("v1世界", "see v1世界 now"));
        assert!(found("foo-ba", "a foo.bar b"));
        assert!(!found("foo-ba", "bar foo"));
        assert!(found("cafe", "the cafe\u{301}s"));
        assert!(!found("…!", "anything…!"));
        assert!(found("\"hello\" OR*", "hello order"));
    }
}
