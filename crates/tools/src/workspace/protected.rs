//! Names that other programs act on by themselves: an agent that could write them would run what it likes, outside
//! of any sandbox and without anybody's word, the next time a person uses those programs.

/// Folders and files no file tool writes, nor anything beneath them, wherever in the workspace they are.
const NAMES: &[&str] = &[
    // Editors run tasks and settings of a folder that is opened.
    ".vscode",
    ".idea",
    ".zed",
    ".fleet",
    ".vim",
    ".nvim",
    ".vimrc",
    ".nvimrc",
    ".exrc",
    ".nvim.lua",
    ".lvimrc",
    ".dir-locals.el",
    // Agents and their tools start what these name.
    ".mcp.json",
    ".claude",
    ".cursor",
    ".codex",
    ".gemini",
    // Shells and their companions run these.
    ".envrc",
    ".direnv",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".logout",
    ".inputrc",
    ".pam_environment",
    // Git runs what its settings name, and looks elsewhere where this is a file.
    ".gitconfig",
    ".gitmodules",
    ".ssh",
    // The gateway's own.
    "moongate.toml",
    "config.overlay.toml",
];

/// What git runs or obeys in its folder: beneath `.git`, and in the folders it keeps of modules and work trees.
const GIT: &[&str] =
    &["hooks", "config", "config.worktree", "commondir", "gitdir", "info", "modules", "worktrees"];

/// The protected name on a path, if one is: none of these names is a link.
pub(super) fn protected<'a>(names: &[&'a str]) -> Option<&'a str> {
    let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
    folded.iter().enumerate().find_map(|(at, name)| {
        let is_git = name == ".git" || name == "git~1";
        let below = folded.get(at + 1).map(String::as_str);
        let hit = match below {
            // A work tree's `.git` is a file that says where the true one is.
            None => is_git,
            Some(below) => is_git && GIT.contains(&below),
        };
        (hit || NAMES.contains(&name.as_str())).then(|| names[at])
    })
}

/// A name as the most forgiving file system reads it: without case, without characters that are not seen, and
/// without dots and spaces at its end.
fn fold(name: &str) -> String {
    let seen = name.chars().filter(|c| !moongate_core::is_hidden(*c));
    let folded: String = seen.flat_map(char::to_lowercase).collect();
    // Case folding alone knows that this is an s and this a k.
    let folded = folded.replace('\u{17f}', "s").replace('\u{212a}', "k");
    folded.trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_protected_in_every_dress() {
        let names = |path: &'static str| path.split('/').collect::<Vec<_>>();
        for path in [
            ".git/hooks/pre-commit",
            ".git/config",
            "sub/.git/hooks",
            ".GIT/Hooks/x",
            "git~1/config",
            ".git",
            ".gi\u{200c}t/config",
            ".git./config",
            ".mcp.json",
            "deep/er/.MCP.json",
            ".vscode/tasks.json",
            ".vſcode/tasks.json",
            ".envrc",
            ".envrc ",
            ".bashrc",
            ".ssh/authorized_keys",
            "moongate.toml",
            ".git/modules/x/hooks/y",
        ] {
            assert!(protected(&names(path)).is_some(), "{path}");
        }
        for path in
            ["src/main.rs", ".gitignore", ".github/workflows/ci.yml", "config", "hooks/x", ".git/HEAD"]
        {
            assert_eq!(protected(&names(path)), None, "{path}");
        }
    }
}
