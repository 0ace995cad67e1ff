//! Folders and files that are exchanged for links while the tools are at work.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use moongate_tools::{FileError, Workspace, WorkspacePath};
use rustix::fs::{CWD, RenameFlags};

use crate::{
    escape::{CANARY, Yard},
    put,
};

/// Exchanges these pairs as fast as it can while `work` is done; says how often.
fn while_exchanging(pairs: &[(&Path, &Path)], work: impl FnOnce()) -> usize {
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (one, other) in pairs {
                    rustix::fs::renameat_with(CWD, *one, CWD, *other, RenameFlags::EXCHANGE).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Also when the work ends in a failure: the scope waits for the thread.
        let _end = End(&over);
        work();
    });
    count.into_inner()
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Default, Debug)]
struct Seen {
    done: usize,
    refused: usize,
}

impl Seen {
    fn count<T, E>(&mut self, result: &Result<T, E>) {
        *(if result.is_ok() { &mut self.done } else { &mut self.refused }) += 1;
    }
}

fn parsed(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text, None).unwrap()
}

/// One round of what tools do; every fourth writes, which waits for the disk.
fn round(workspace: &Workspace, at: usize, seen: &mut Seen) {
    let read =
        workspace.open_file(&parsed(if at.is_multiple_of(2) { "swap/secret.txt" } else { "file.txt" }));
    seen.count(&read);
    if let Ok(mut open) = read {
        let mut held = String::new();
        open.file.read_to_string(&mut held).unwrap();
        assert!(!held.contains(CANARY), "what is outside was read");
    }
    let listed = workspace.list(&parsed("swap"), 100);
    seen.count(&listed);
    if let Ok((entries, _)) = listed {
        assert!(!entries.iter().any(|entry| entry.name == b"dir"), "what is outside was listed");
    }
    let target = workspace.target(&parsed(match at % 3 {
        0 => "swap/secret.txt",
        1 => "file.txt",
        _ => "swap/new/deep.txt",
    }));
    seen.count(&target);
    let Ok(target) = target else { return };
    if let Ok(Some(held)) = target.read(1 << 20) {
        assert_ne!(held, CANARY.as_bytes(), "what is outside was read");
    }
    if at.is_multiple_of(4) {
        seen.count(&target.write(b"the agent's\n"));
    }
}

fn swaps(rounds: usize) {
    let yard = Yard::new();
    put(&yard.path("work/swap/secret.txt"), "mine\n");
    put(&yard.path("work/file.txt"), "mine\n");
    symlink("../outside", yard.path("work/link")).unwrap();
    symlink("../secret.txt", yard.path("work/other.txt")).unwrap();
    let before = yard.outside();
    let workspace = yard.open();
    let mut seen = Seen::default();
    let [swap, link, file, other] =
        ["work/swap", "work/link", "work/file.txt", "work/other.txt"].map(|name| yard.path(name));
    let exchanged = while_exchanging(&[(&swap, &link), (&file, &other)], || {
        (0..rounds).for_each(|at| round(&workspace, at, &mut seen));
    });
    assert!(yard.outside() == before, "something outside was changed");
    assert!(seen.done > 0 && seen.refused > 0 && exchanged > 0, "there was a race: {seen:?}, {exchanged}");
}

#[test]
fn exchanging_folders_and_links_opens_no_way_out() {
    swaps(5_000);
}

#[test]
#[ignore = "a hundred thousand rounds take minutes; the short form is an ordinary test"]
fn a_hundred_thousand_exchanges_open_no_way_out() {
    swaps(100_000);
}

/// A link to git's folder takes the place of a folder that may be written.
#[test]
fn exchanging_a_folder_for_a_link_opens_no_way_to_protected_names() {
    let yard = Yard::new();
    fs::create_dir_all(yard.path("work/.git/hooks")).unwrap();
    fs::create_dir_all(yard.path("work/plain/hooks")).unwrap();
    symlink(".git", yard.path("work/link")).unwrap();
    let workspace = yard.open();
    let mut seen = Seen::default();
    let (plain, link) = (yard.path("work/plain"), yard.path("work/link"));
    while_exchanging(&[(&plain, &link)], || {
        for at in 0..2_000 {
            // A new one each time: one that is there already would be seen to be another one.
            let target = workspace.target(&parsed(&format!("plain/hooks/{at}")));
            seen.count(&target);
            if let Ok(target) = target {
                seen.count(&target.write(b"#!/bin/sh\n"));
            }
        }
    });
    assert_eq!(fs::read_dir(yard.path("work/.git/hooks")).unwrap().count(), 0, "a hook was written");
    assert!(seen.done > 0 && seen.refused > 0, "there was a race: {seen:?}");
}

/// Somebody writes the file between the look at it and the writing of it.
#[test]
fn what_somebody_else_wrote_meanwhile_is_not_replaced() {
    let yard = Yard::new();
    put(&yard.path("work/old.txt"), "one\n");
    let workspace = yard.open();
    for (name, theirs) in [("old.txt", "another\n"), ("new.txt", "somebody's\n")] {
        let target = workspace.target(&parsed(name)).unwrap();
        put(&yard.path("work").join(name), theirs);
        let refused = target.write(b"the agent's\n").unwrap_err();
        assert!(matches!(refused, FileError::Changed(_)), "{name}: {refused}");
        assert_eq!(fs::read_to_string(yard.path("work").join(name)).unwrap(), theirs);
    }
    let left = fs::read_dir(yard.path("work")).unwrap().count();
    assert_eq!(left, 3, "no draft is left over");
}
