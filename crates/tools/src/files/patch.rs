//! Applies a unified diff to one text. What it says was there has to be there, to the letter; only the line numbers are
//! taken as a hint, where the lines are found in one place alone.

/// One piece of a diff.
#[derive(Debug, Default)]
struct Hunk<'a> {
    /// The first line it is about, from 0.
    at: usize,
    /// Lines that are there, with their ends.
    old: Vec<&'a str>,
    /// Lines that take their place.
    new: Vec<&'a str>,
}

/// What the text is after the diff.
///
/// # Errors
/// In words, when the diff is none or does not fit.
pub(super) fn apply(text: &str, diff: &str) -> Result<String, String> {
    // A model leaves out the last line's end, which says nothing about the file's.
    let diff = if diff.ends_with('\n') { diff.to_owned() } else { format!("{diff}\n") };
    let hunks = parse(&diff)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::with_capacity(text.len() + diff.len());
    let mut done = 0;
    let mut shift = 0_isize;
    for (number, hunk) in (1..).zip(&hunks) {
        let stated = hunk.at.saturating_add_signed(shift);
        let at = place(&lines, done, stated, &hunk.old)
            .map_err(|why| format!("part {number} of the diff {why}"))?;
        shift = at.cast_signed() - hunk.at.cast_signed();
        out.extend(lines[done..at].iter().copied());
        out.extend(hunk.new.iter().copied());
        done = at + hunk.old.len();
    }
    out.extend(lines[done..].iter().copied());
    Ok(out)
}

/// Where the lines are: at the stated place, or at the only one from `from` on.
fn place(lines: &[&str], from: usize, stated: usize, old: &[&str]) -> Result<usize, String> {
    let fits = |at: usize| lines.get(at..at + old.len()).is_some_and(|found| found == old);
    if stated >= from && fits(stated) {
        return Ok(stated);
    }
    if old.is_empty() {
        return Err("adds lines where the file has none: give lines around them".into());
    }
    let mut places = (from..lines.len()).filter(|at| fits(*at));
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err("does not fit: its lines are nowhere in the file, to the letter".into()),
        (Some(_), Some(_)) => Err("fits in more than one place: give more lines around it".into()),
    }
}

fn parse(diff: &str) -> Result<Vec<Hunk<'_>>, String> {
    let mut lines = diff.split_inclusive('\n').peekable();
    let mut files = 0;
    while let Some(line) = lines.next_if(|line| !line.starts_with("@@")) {
        if line.starts_with("+++ ") {
            files += 1;
        } else if !is_heading(line) {
            return Err(format!("the diff has a line that belongs to no part: {:?}", line.trim_end()));
        }
    }
    let mut hunks = Vec::new();
    while let Some(line) = lines.next() {
        if !line.starts_with("@@") {
            if line.trim().is_empty() {
                continue;
            }
            let more = if is_heading(line) {
                "the diff is about more than one file"
            } else {
                "a part of the diff has more lines than it says"
            };
            return Err(more.into());
        }
        hunks.push(hunk(line, &mut lines)?);
    }
    match (hunks.is_empty(), files > 1) {
        (true, _) => Err("the diff has no part: a part begins with @@".into()),
        (_, true) => Err("the diff is about more than one file".into()),
        _ => Ok(hunks),
    }
}

/// Lines a diff may begin with.
fn is_heading(line: &str) -> bool {
    const HEADINGS: [&str; 6] = ["diff ", "index ", "--- ", "+++ ", "new file mode ", "old mode "];
    HEADINGS.iter().any(|heading| line.starts_with(heading)) || line.trim().is_empty()
}

fn hunk<'a>(
    head: &str,
    lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Result<Hunk<'a>, String> {
    let (first, mut old, mut new) = counts(head).ok_or_else(|| {
        format!("this begins no part: {:?}; it has the form @@ -1,2 +1,3 @@", head.trim_end())
    })?;
    // Without old lines the number is that of the line before.
    let mut hunk = Hunk { at: if old == 0 { first } else { first.saturating_sub(1) }, ..Hunk::default() };
    let short = || "a part of the diff has fewer lines than it says".to_owned();
    while old > 0 || new > 0 {
        let line = lines.next().ok_or_else(short)?;
        let (mark, rest) = match line.as_bytes().first() {
            Some(b'\n' | b'\r') => (b' ', line),
            Some(mark) => (*mark, line.get(1..).ok_or_else(short)?),
            None => return Err(short()),
        };
        let whole = without_end(rest, lines.peek().is_some_and(|next| next.starts_with('\\')));
        let (is_old, is_new) = match mark {
            b' ' => (true, true),
            b'-' => (true, false),
            b'+' => (false, true),
            _ => return Err(short()),
        };
        if is_old {
            old = old.checked_sub(1).ok_or("a part of the diff has more old lines than it says")?;
            hunk.old.push(whole);
        }
        if is_new {
            new = new.checked_sub(1).ok_or("a part of the diff has more new lines than it says")?;
            hunk.new.push(whole);
        }
        let _no_end = lines.next_if(|next| next.starts_with('\\'));
    }
    Ok(hunk)
}

/// The line, without its end where the file's last line has none.
fn without_end(line: &str, bare: bool) -> &str {
    if bare {
        line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
    } else {
        line
    }
}

/// `@@ -first,old +first,new @@`.
fn counts(head: &str) -> Option<(usize, usize, usize)> {
    let inside = head.strip_prefix("@@ -")?.split_once(" @@")?.0;
    let (old, new) = inside.split_once(" +")?;
    let read = |text: &str| {
        let (first, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((first.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let (first, old) = read(old)?;
    Some((first, old, read(new)?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "one\ntwo\nthree\nfour\nfive\nsix\n";

    #[test]
    fn a_diff_that_fits_is_applied() {
        let diff = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n@@ -5,2 +5,3 @@ fn\n five\n+and\n six\n";
        assert_eq!(apply(FILE, diff).unwrap(), "one\nzwei\nthree\nfour\nfive\nand\nsix\n");
        // Lines further on than it says, in one place only.
        assert_eq!(apply(FILE, "@@ -1,1 +1,1 @@\n-five\n+5\n").unwrap(), "one\ntwo\nthree\nfour\n5\nsix\n");
        assert_eq!(apply("", "@@ -0,0 +1,2 @@\n+a\n+b\n").unwrap(), "a\nb\n");
        let bare = "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n";
        assert_eq!(apply("a", bare).unwrap(), "b");
    }

    #[test]
    fn a_diff_that_does_not_fit_is_refused() {
        for (diff, why) in [
            ("", "no part"),
            ("hello", "belongs to no part"),
            ("@@ -1,1 +1,1 @@\n-two \n+x\n", "nowhere"),
            ("@@ -1,2 +1,1 @@\n-one\n+x\n", "fewer lines"),
            ("@@ -1,1 +1,1 @@\n-one\n+x\n+y\n", "more lines"),
            ("@@ one @@\n-one\n", "begins no part"),
            ("@@ -9,0 +9,1 @@\n+x\n", "around"),
            (
                "--- a\n+++ a\n@@ -1 +1 @@\n-one\n+x\n--- b\n+++ b\n@@ -1 +1 @@\n-two\n+x\n",
                "more than one file",
            ),
            ("@@ -2 +2 @@\n-two\n+x\n@@ -1 +1 @@\n-one\n+x\n", "nowhere"),
        ] {
            let refused = apply(FILE, diff).unwrap_err();
            assert!(refused.contains(why), "{diff:?}: {refused}");
        }
        let refused = apply("a\na\nb\n", "@@ -3 +3 @@\n-a\n+x\n").unwrap_err();
        assert!(refused.contains("more than one place"), "{refused}");
    }
}
