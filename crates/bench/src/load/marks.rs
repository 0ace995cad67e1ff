//! What a client looks for in an answer: the first word, the last, the end.

use std::time::{Duration, Instant};

use memchr::memmem::Finder;

/// How far a mark may reach over the border of two reads.
const OVERLAP: usize = 64;

/// The texts to look for.
pub(super) struct Marks<'a> {
    first: Finder<'static>,
    last: Finder<'a>,
    good: Finder<'static>,
    bad: Finder<'static>,
}

/// One answer as it comes.
pub(super) struct Seen {
    began: Instant,
    looked: usize,
    first: Option<Duration>,
    last: Option<Duration>,
    ended: Option<bool>,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) first: Duration,
    pub(super) done: Duration,
    pub(super) bytes: usize,
}

impl<'a> Marks<'a> {
    pub(super) fn new(last_word: &'a str, (good, bad): (&'static str, &'static str)) -> Self {
        let good = Finder::new(good);
        Self { first: Finder::new("zq0 "), last: Finder::new(last_word), good, bad: Finder::new(bad) }
    }
}

impl Seen {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), looked: 0, first: None, last: None, ended: None }
    }

    /// Looks at what was added to `all` since the last look; true once the turn has ended.
    pub(super) fn look(&mut self, marks: &Marks<'_>, all: &[u8]) -> bool {
        let new = &all[self.looked.saturating_sub(OVERLAP)..];
        self.looked = all.len();
        if self.first.is_none() && marks.first.find(new).is_some() {
            self.first = Some(self.began.elapsed());
        }
        if self.last.is_none() && marks.last.find(new).is_some() {
            self.last = Some(self.began.elapsed());
        }
        if self.ended.is_none() && marks.good.find(new).is_some() {
            self.ended = Some(true);
        }
        if self.ended.is_none() && marks.bad.find(new).is_some() {
            self.ended = Some(false);
        }
        self.ended.is_some()
    }

    /// The answer's times, if it was a whole one.
    pub(super) fn end(self) -> Result<Turn, &'static str> {
        match (self.first, self.last, self.ended) {
            (Some(first), Some(_), Some(true)) => {
                Ok(Turn { first, done: self.began.elapsed(), bytes: self.looked })
            }
            (_, _, Some(false)) => Err("the turn failed"),
            (_, _, None) => Err("the answer ended without an end"),
            _ => Err("words are missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDINGS: (&str, &str) = ("event: done", "event: failed");

    #[test]
    fn marks_are_seen_across_the_border_of_two_reads() {
        let answer = b"data: zq0 \n\ndata: zq1 \n\nevent: done\n\n";
        let marks = Marks::new("zq1 ", ENDINGS);
        for cut in 0..answer.len() {
            let mut seen = Seen::begin();
            seen.look(&marks, &answer[..cut]);
            assert!(seen.look(&marks, answer), "cut at {cut}");
            assert!(seen.end().is_ok(), "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_that_is_not_whole_counts_as_an_error() {
        let marks = Marks::new("zq1 ", ENDINGS);
        let end = |answer: &[u8]| {
            let mut seen = Seen::begin();
            seen.look(&marks, answer);
            seen.end().map(|turn| turn.bytes)
        };
        assert_eq!(end(b"zq0 zq1 event: done"), Ok(19));
        assert_eq!(end(b"zq0 event: done"), Err("words are missing"));
        assert_eq!(end(b"zq0 zq1 "), Err("the answer ended without an end"));
        assert_eq!(end(b"zq0 zq1 event: failed"), Err("the turn failed"));
    }
}
