//! `cargo xtask e2e ui`: the web page. That the committed files are what its sources build to, and every part of it in
//! Chromium against our program with the built-in model.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    browser,
    install::{Node, Python},
    suites::{build, built},
};
use crate::shell::{self, Failed, report};

/// The page's sources.
const SOURCES: &str = "ui";
/// What is made of them, and of our OpenAPI document.
const MADE: [&str; 3] = ["ui/dist", "ui/src/lib/schema.d.ts", "crates/server/src/page/files.rs"];
/// What drives the page.
const DRIVERS: [&str; 2] = ["e2e/ui", "e2e/ui/areas"];
/// The oldest Node.js, major and minor, that Vite takes.
const OLDEST_NODE: (u32, u32) = (20, 19);

pub(super) fn run() -> Result<(), Failed> {
    let chromium = browser::needed()?;
    build()?;
    let node = Node::with(&Python::with("ui")?, "ui", OLDEST_NODE)?;
    check_made(&node)?;
    drive_every_part_of_the_page(&node, &chromium)
}

/// Signs in, talks, decides, looks at every page with axe-core, goes away and comes back, and is shown hostile texts.
fn drive_every_part_of_the_page(node: &Node, chromium: &Path) -> Result<(), Failed> {
    let place = std::path::absolute(node.place())
        .map_err(|e| Failed::cannot(format!("cannot name {}: {e}", node.place().display())))?;
    for folder in DRIVERS {
        copy_scripts(Path::new(folder), &place)?;
    }
    let mut drive = Command::new(node.program());
    drive.arg(place.join("main.mjs")).env("MOONGATE", absolute(&built("moongate"))?);
    drive.env("ASKING", absolute(&built("examples").join("asking_agent"))?);
    drive.env("CHROMIUM", chromium).env("OUT", place.join("pictures"));
    shell::run(&mut drive)?;
    report(&format!("what the page looked like: {}", place.join("pictures").display()));
    Ok(())
}

/// Builds the page, and fails where that changes a committed file.
fn check_made(node: &Node) -> Result<(), Failed> {
    let sources = Path::new(SOURCES);
    node.install_in(sources)?;
    let document = shell::read(Command::new(built("moongate")).arg("openapi"))?;
    let place = sources.join("openapi.json");
    fs::write(&place, document)
        .map_err(|e| Failed::cannot(format!("cannot write {}: {e}", place.display())))?;
    for script in ["types", "check", "build"] {
        node.npm_run(sources, script)?;
    }
    let changed = shell::read(Command::new("git").args(["status", "--porcelain", "--"]).args(MADE))?;
    if changed.trim().is_empty() {
        report("ok: what is committed is what the sources build to");
        return Ok(());
    }
    Err(Failed::new(format!("the page's sources build to something else than what is committed:\n{changed}")))
}

/// Puts the scripts of a folder beside the packages they use, in the same order.
fn copy_scripts(from: &Path, place: &Path) -> Result<(), Failed> {
    let cannot = |e: std::io::Error| Failed::cannot(format!("cannot copy {}: {e}", from.display()));
    let to = place.join(from.strip_prefix(DRIVERS[0]).unwrap_or(from));
    fs::create_dir_all(&to).map_err(cannot)?;
    for entry in fs::read_dir(from).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|kind| kind == "mjs") {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default())).map_err(cannot)?;
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(path).map_err(|e| Failed::cannot(format!("cannot name {}: {e}", path.display())))
}
