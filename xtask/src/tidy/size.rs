//! How large files, functions and structs are. Tests are left out.

use std::fmt;

use super::source::{Source, Tree};

/// A kind of size, with the most it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Limit {
    /// Lines of a file.
    FileLines,
    /// Lines of a function.
    FunctionLines,
    /// Fields of a struct.
    StructFields,
    /// Parameters of a function, besides its receiver.
    Parameters,
}

impl Limit {
    const ALL: [Self; 4] = [Self::FileLines, Self::FunctionLines, Self::StructFields, Self::Parameters];

    pub(super) fn most(self) -> usize {
        match self {
            Self::FileLines => 400,
            Self::FunctionLines => 70,
            Self::StructFields => 12,
            Self::Parameters => 5,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FileLines => "file-lines",
            Self::FunctionLines => "function-lines",
            Self::StructFields => "struct-fields",
            Self::Parameters => "parameters",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One measured thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) limit: Limit,
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// `path`, or `path::name` of a function or struct.
    pub(super) at: String,
    pub(super) size: usize,
}

/// Measures all product code.
pub(super) fn measure(tree: &Tree) -> Vec<Measure> {
    tree.sources.iter().filter(|source| source.product_lines > 0).flat_map(measure_file).collect()
}

/// The largest of each kind, in words.
pub(super) fn summary(tree: &Tree) -> Vec<String> {
    let all = measure(tree);
    let largest = |limit: Limit| {
        let mut of_kind: Vec<&Measure> = all.iter().filter(|measure| measure.limit == limit).collect();
        of_kind.sort_by_key(|measure| std::cmp::Reverse(measure.size));
        let shown: Vec<String> = of_kind.iter().take(5).map(|m| format!("{} {}", m.size, m.at)).collect();
        format!("{limit} (at most {}): {}", limit.most(), shown.join("; "))
    };
    Limit::ALL.into_iter().map(largest).collect()
}

fn measure_file(source: &Source) -> Vec<Measure> {
    let lines = source.product();
    let of = |limit, line: usize, name: Option<&str>, size| Measure {
        limit,
        path: source.path.clone(),
        line: line + 1,
        at: name.map_or_else(|| source.path.clone(), |name| format!("{}::{name}", source.path)),
        size,
    };
    let mut found = vec![of(Limit::FileLines, 0, None, lines.len())];
    for (line, text) in lines.iter().enumerate() {
        if let Some((indent, name)) = function_name(text) {
            if let Some(length) = body_length(lines, line, indent) {
                found.push(of(Limit::FunctionLines, line, Some(name), length));
            }
            found.push(of(Limit::Parameters, line, Some(name), parameters(lines, line, name)));
        } else if let Some(name) = struct_name(text) {
            found.push(of(Limit::StructFields, line, Some(name), fields(lines, line)));
        }
    }
    found
}

/// The indent and name of the function that begins on this line.
fn function_name(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start();
    let indent = line.get(..line.len() - text.len())?;
    let mut text = after_visibility(text);
    for word in ["default ", "const ", "async ", "unsafe "] {
        text = text.strip_prefix(word).unwrap_or(text);
    }
    if let Some(abi) = text.strip_prefix("extern \"") {
        text = abi.split_once('"')?.1.trim_start();
    }
    let name = text.strip_prefix("fn ")?;
    Some((indent, identifier(name)))
}

fn struct_name(line: &str) -> Option<&str> {
    let head = line.trim_end().strip_suffix('{')?;
    let name = after_visibility(line).strip_prefix("struct ")?;
    (!head.contains([';', '{'])).then(|| identifier(name))
}

fn after_visibility(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("pub") else { return text };
    let rest = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map_or(rest, |(_, after)| after);
    rest.strip_prefix(' ').unwrap_or(text)
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Lines from the signature to the closing brace; nothing for a declaration. Relies on rustfmt's indents.
fn body_length(lines: &[String], start: usize, indent: &str) -> Option<usize> {
    let opens = |line: &String| line.contains('{') || line.trim_end().ends_with(';');
    let open = start + lines.get(start..)?.iter().position(opens)?;
    let first = lines.get(open)?;
    if !first.contains('{') {
        return None;
    }
    if first.trim_end().ends_with('}') && first.matches('{').count() == first.matches('}').count() {
        return Some(open - start + 1);
    }
    let close = format!("{indent}}}");
    let rest = lines.get(open + 1..)?;
    let body = rest.iter().position(|line| line.starts_with(&close)).unwrap_or(rest.len());
    Some(open + 1 + body - start + 1)
}

fn fields(lines: &[String], start: usize) -> usize {
    let is_field = |line: &&String| {
        let text = after_visibility(line.trim_start());
        line.starts_with([' ', '\t'])
            && text.get(identifier(text).len()..).is_some_and(|rest| rest.starts_with(": "))
    };
    lines.iter().skip(start + 1).take_while(|line| !line.starts_with('}')).filter(is_field).count()
}

/// Counts a function's parameters, its receiver left out.
fn parameters(lines: &[String], start: usize, name: &str) -> usize {
    let text = lines.get(start..).unwrap_or_default().join("\n");
    let Some((_, after)) = text.split_once(&format!("fn {name}")) else { return 0 };
    let Some(list) = parameter_list(after) else { return 0 };
    let is_receiver = |text: &str| {
        let text = text.trim_start_matches('&').trim_start();
        let text = if text.starts_with('\'') { text.split_once(' ').map_or(text, |(_, t)| t) } else { text };
        identifier(text.trim_start_matches("mut ")) == "self"
    };
    let counted = split_top_level(list).into_iter().filter(|text| !text.is_empty() && !is_receiver(text));
    counted.count()
}

/// What stands between a signature's parentheses.
fn parameter_list(after_name: &str) -> Option<&str> {
    let mut angle = 0_i32;
    let mut round = 0_i32;
    let mut open = 0;
    let mut before = ' ';
    for (at, c) in after_name.char_indices() {
        match c {
            '<' => angle += 1,
            '>' if before != '-' => angle -= 1,
            '(' => {
                if angle == 0 && round == 0 {
                    open = at + 1;
                }
                round += 1;
            }
            ')' => {
                round -= 1;
                if angle == 0 && round == 0 {
                    return after_name.get(open..at);
                }
            }
            _ => {}
        }
        before = c;
    }
    None
}

fn split_top_level(list: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut before = ' ';
    let mut from = 0;
    let mut parts = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list.get(from..at).unwrap_or_default().trim());
                from = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(list.get(from..).unwrap_or_default().trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str, limit: Limit) -> Vec<(String, usize)> {
        let all = measure_file(&Source::new("a.rs", text));
        all.into_iter().filter(|m| m.limit == limit).map(|m| (m.at, m.size)).collect()
    }

    #[test]
    fn functions_are_measured_from_signature_to_brace() {
        let text = "fn a() {}\n\nimpl X {\n    pub(crate) async fn b(\n        x: u8,\n    ) -> u8 {\n        if x {\n        }\n    }\n\n    fn c();\n}\n";
        assert_eq!(sizes(text, Limit::FunctionLines), [("a.rs::a".to_owned(), 1), ("a.rs::b".to_owned(), 6)]);
    }

    #[test]
    fn parameters_are_counted_without_the_receiver() {
        let text = "fn a<F: Fn(u8, u8) -> Vec<u8>>(\n    &'a mut self,\n    f: F,\n    map: BTreeMap<u8, (u8, u8)>,\n) {}\nfn b() {}\nfn c(self, x: fn(u8) -> u8, y: [u8; 2]) {}\n";
        let counts: Vec<usize> = sizes(text, Limit::Parameters).into_iter().map(|(_, n)| n).collect();
        assert_eq!(counts, [2, 0, 2]);
    }

    #[test]
    fn fields_are_counted_and_comments_are_not() {
        let text = "pub struct A<T> {\n    /// x: y\n    pub a: u8,\n    pub(crate) b: Vec<T>,\n    c: u8,\n}\nstruct B(u8);\n";
        assert_eq!(sizes(text, Limit::StructFields), [("a.rs::A".to_owned(), 3)]);
    }
}
