//! The commands the README tells a new user to type: the gate runs these very lines, so they cannot rot.

use std::fs;

use crate::shell::Failed;

/// The commands of the code block that follows `<!-- gate: NAME -->` in the README.
pub(crate) fn commands(name: &str) -> Result<String, Failed> {
    let text = fs::read_to_string("README.md").map_err(|e| Failed::cannot(format!("README.md: {e}")))?;
    marked_block(&text, name)
        .ok_or_else(|| Failed::new(format!("README.md has no code block after `<!-- gate: {name} -->`")))
}

fn marked_block(text: &str, name: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("<!-- gate: {name} -->"))?;
    let mut lines = after.trim_start().lines();
    lines.next()?.strip_prefix("```")?;
    let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
    (!block.is_empty()).then(|| block.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_block_is_found_and_no_other() {
        let text = "```\nfirst\n```\n<!-- gate: test -->\n\n```sh\ncargo a\ncargo b\n```\n```\nlast\n```\n";
        assert_eq!(marked_block(text, "test").as_deref(), Some("cargo a\ncargo b"));
        assert_eq!(marked_block(text, "run"), None);
        assert_eq!(marked_block("<!-- gate: test -->\nwords\n```\nx\n```\n", "test"), None);
    }
}
