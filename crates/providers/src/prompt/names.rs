//! Tool names within the providers' narrower grammar.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use moongate_protocol::ToolSpec;

/// Longest name every provider takes.
const MAX_NAME: usize = 64;

/// Which of our tool names go under another name on the wire. Empty in nearly all requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolNames {
    by_ours: HashMap<String, String>,
    by_theirs: HashMap<String, String>,
}

impl ToolNames {
    /// The names of a request's tools.
    pub(crate) fn new(tools: &[ToolSpec]) -> Self {
        let mut names = Self::default();
        if tools.iter().all(|tool| is_plain(tool.name.as_str())) {
            return names;
        }
        let mut taken: HashSet<String> = tools
            .iter()
            .filter(|tool| is_plain(tool.name.as_str()))
            .map(|tool| tool.name.to_string())
            .collect();
        for tool in tools.iter().filter(|tool| !is_plain(tool.name.as_str())) {
            let theirs = free_name(tool.name.as_str(), &taken);
            taken.insert(theirs.clone());
            names.by_theirs.insert(theirs.clone(), tool.name.to_string());
            names.by_ours.insert(tool.name.to_string(), theirs);
        }
        names
    }

    /// The name on the wire. Also for names from the history, which need not be tools any more.
    pub(crate) fn theirs<'a>(&'a self, ours: &'a str) -> Cow<'a, str> {
        match self.by_ours.get(ours) {
            Some(theirs) => Cow::Borrowed(theirs),
            None if is_plain(ours) => Cow::Borrowed(ours),
            None => Cow::Owned(plain(ours, MAX_NAME)),
        }
    }

    /// Our name of what the model named.
    pub(crate) fn ours<'a>(&'a self, theirs: &'a str) -> &'a str {
        self.by_theirs.get(theirs).map_or(theirs, String::as_str)
    }
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_plain_char)
}

fn plain(name: &str, max: usize) -> String {
    let name: String = name.chars().take(max).map(|c| if is_plain_char(c) { c } else { '_' }).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

fn free_name(name: &str, taken: &HashSet<String>) -> String {
    let first = plain(name, MAX_NAME);
    if !taken.contains(&first) {
        return first;
    }
    let base = plain(name, MAX_NAME - 6);
    (2_u32..).map(|n| format!("{base}_{n}")).find(|name| !taken.contains(name)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use moongate_protocol::Effect;

    use super::*;

    fn tool(name: &str) -> ToolSpec {
        ToolSpec {
            name: name.parse().unwrap(),
            description: String::new(),
            parameters: serde_json::json!({}),
            effect: Effect::Read,
        }
    }

    #[test]
    fn names_out_of_the_grammar_are_mapped_there_and_back() {
        let long = "x".repeat(100);
        let names = ToolNames::new(&[tool("a.b"), tool("a_b"), tool("a-b"), tool(&long)]);
        assert_eq!(names.theirs("a_b"), "a_b");
        assert_eq!(names.theirs("a.b"), "a_b_2");
        assert_eq!(names.ours("a_b_2"), "a.b");
        assert_eq!(names.ours("a_b"), "a_b");
        let theirs = names.theirs(&long).into_owned();
        assert_eq!((theirs.len(), names.ours(&theirs)), (64, long.as_str()));
        assert_eq!(names.theirs("what is this?"), "what_is_this_");
        assert_eq!(names.theirs(""), "unnamed");
    }
}
