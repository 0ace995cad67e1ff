//! Going through a folder and all beneath it. Links are seen and not followed, so there is no way round and none out.

use std::rc::Rc;

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::Desk;
use crate::workspace::{FileError, Kind, WorkspacePath};

/// Entries that are looked at: more is not searched in one call.
const ENTRIES: usize = 200_000;
/// Bytes of a `.gitignore` that are read: one that is longer was not written by people.
const RULES_BYTES: u64 = 64 * 1024;
/// Never gone into: nothing in it is anybody's text.
const GIT: &str = ".git";
const RULES: &str = ".gitignore";

/// What is found on the way.
pub(super) struct Found {
    pub(super) path: WorkspacePath,
    pub(super) kind: Kind,
}

/// What to do after something was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Stop,
}

/// What a walk left out.
#[derive(Clone, Copy, Default)]
pub(super) struct LeftOut {
    /// Names that are no text, and folders that are too deep or cannot be read.
    pub(super) unreadable: usize,
    /// There was more than a call looks at.
    pub(super) more: bool,
}

impl LeftOut {
    /// In words, where there is something.
    pub(super) fn note(self) -> String {
        let mut note = String::new();
        if self.more {
            note.push_str("[not everything was looked at: there are too many files; name a folder]\n");
        }
        if self.unreadable > 0 {
            note.push_str(&format!("[{} names or folders could not be read]\n", self.unreadable));
        }
        note
    }
}

/// Shows everything beneath a folder to `visit`, by names, folders after what is beside them; what `.gitignore`
/// names only where `ignored` says so.
pub(super) fn walk(
    desk: &Desk,
    start: &WorkspacePath,
    ignored: bool,
    visit: &mut dyn FnMut(&Found) -> Result<Next, FileError>,
) -> Result<LeftOut, FileError> {
    let start = desk.workspace.real(start)?;
    let rules = if ignored { None } else { Rules::above(desk, &start) };
    let mut left_out = LeftOut::default();
    let mut left = ENTRIES;
    let mut folders = vec![(start.clone(), rules)];
    while let Some((folder, above)) = folders.pop() {
        let listed = desk.workspace.list_plain(&folder, left);
        let (entries, cut) = match listed {
            Ok(listed) => listed,
            // The folder that was asked for has to be one; another may be gone by now.
            Err(fault) if folder == start => return Err(fault),
            Err(_) => {
                left_out.unreadable += 1;
                continue;
            }
        };
        left -= entries.len();
        let has_rules =
            entries.iter().any(|entry| entry.name == RULES.as_bytes() && entry.kind == Kind::File);
        let rules = if !ignored && has_rules { Rules::of(desk, &folder, above) } else { above };
        let mut below = Vec::new();
        for entry in entries {
            desk.go_on()?;
            let name = std::str::from_utf8(&entry.name).ok();
            let Some(path) = name.and_then(|name| folder.join(name)) else {
                left_out.unreadable += 1;
                continue;
            };
            let is_folder = entry.kind == Kind::Folder;
            let is_ignored = rules.as_ref().is_some_and(|rules| rules.ignore(&path, is_folder));
            if is_ignored || is_folder && name == Some(GIT) {
                continue;
            }
            let found = Found { path, kind: entry.kind };
            if visit(&found)? == Next::Stop {
                return Ok(left_out);
            }
            if is_folder {
                below.push((found.path, rules.clone()));
            }
        }
        folders.extend(below.into_iter().rev());
        if cut || left == 0 && !folders.is_empty() {
            left_out.more = true;
            break;
        }
    }
    Ok(left_out)
}

/// What the `.gitignore` files from the workspace down to a folder say.
struct Rules {
    here: Gitignore,
    /// How many names the folder's path has.
    depth: usize,
    above: Option<Rc<Self>>,
}

impl Rules {
    /// Those of the folders above one.
    fn above(desk: &Desk, folder: &WorkspacePath) -> Option<Rc<Self>> {
        let mut rules = None;
        let mut at = WorkspacePath::root();
        for name in folder.names() {
            rules = Self::of(desk, &at, rules);
            at = at.join(name)?;
        }
        rules
    }

    /// Those of a folder, before those above it. A file that cannot be read, or a line that is no rule, says nothing.
    fn of(desk: &Desk, folder: &WorkspacePath, above: Option<Rc<Self>>) -> Option<Rc<Self>> {
        let Some(path) = folder.join(RULES) else { return above };
        let read = desk.workspace.open_plain_file(&path).and_then(|file| file.read(&path, RULES_BYTES));
        let Some(text) = read.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return above };
        let mut builder = GitignoreBuilder::new("");
        for line in text.lines() {
            let _no_rule = builder.add_line(None, line);
        }
        match builder.build() {
            Ok(here) => Some(Rc::new(Self { here, depth: folder.names().count(), above })),
            Err(_) => above,
        }
    }

    fn ignore(&self, path: &WorkspacePath, is_folder: bool) -> bool {
        let below: Vec<&str> = path.names().skip(self.depth).collect();
        match self.here.matched(below.join("/"), is_folder) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => self.above.as_ref().is_some_and(|above| above.ignore(path, is_folder)),
        }
    }
}
