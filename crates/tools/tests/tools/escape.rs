//! Ways out of a workspace: none is one. Seen from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use moongate_core::Place;
use moongate_protocol::SessionId;
use moongate_tools::{FileError, PathError, Workspace, WorkspacePath, WorkspaceSettings, Workspaces};
use serde_json::json;
use tempfile::TempDir;

use crate::{World, put};

/// What no tool may ever be seen to hold.
pub(crate) const CANARY: &str = "canary-outside-the-workspace";

/// A workspace beside things it has no business with.
pub(crate) struct Yard {
    folder: TempDir,
    workspaces: Workspaces,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("outside/secret.txt"), CANARY);
        put(&folder.path().join("outside/dir/secret.txt"), CANARY);
        put(&folder.path().join("secret.txt"), CANARY);
        put(&folder.path().join("work/inside/a.txt"), "mine\n");
        let workspaces = Workspaces::new(WorkspaceSettings::Shared(folder.path().join("work")));
        Self { folder, workspaces }
    }

    pub(crate) fn open(&self) -> Workspace {
        self.workspaces.open(&place()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything that is not the workspace's: names and what they hold.
    pub(crate) fn outside(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path == self.path("work") {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    all.insert(path.clone(), None);
                    folders.push(path);
                } else {
                    let held = fs::read(&path).unwrap();
                    all.insert(path, Some(held));
                }
            }
        }
        all
    }
}

pub(crate) fn place() -> Place {
    Place {
        tenant: "default".parse().unwrap(),
        namespace: "default".parse().unwrap(),
        author: "key:test".parse().unwrap(),
        agent: "main".parse().unwrap(),
        session: SessionId::from_bits(1),
        turn: moongate_protocol::TurnId::from_bits(1),
    }
}

/// Ways out times what is there.
fn payloads(yard: &Yard) -> BTreeSet<String> {
    let root = yard.folder.path().display().to_string();
    let work = format!("{root}/work");
    let ways = [
        "../".into(),
        "../../".into(),
        "../".repeat(40),
        "./../".into(),
        "inside/../../".into(),
        "inside/./.././../".into(),
        "missing/../../".into(),
        "..//".into(),
        ".././".into(),
        "inside/a.txt/../../../".into(),
        "/".into(),
        "//".into(),
        "/../".into(),
        "/./".into(),
        format!("{root}/"),
        format!("/{root}/"),
        format!("{work}/../"),
        format!("{work}/inside/../../"),
        format!("{work}2/"),
        "file://".into(),
        format!("file://{root}/"),
        "~/".into(),
        "~root/".into(),
        "$HOME/".into(),
        "..\\".into(),
        "..\\..\\".into(),
        "%2e%2e/".into(),
        "%2e%2e%2f".into(),
        "%252e%252e%252f".into(),
        "..%2f".into(),
        "..%c0%af".into(),
        "..%00/".into(),
        "..\0/".into(),
        "..;/".into(),
        ".../".into(),
        "\u{2024}\u{2024}/".into(),
        "\u{ff0e}\u{ff0e}/".into(),
        "..\u{2215}".into(),
        "..\u{ff0f}".into(),
        ".\u{200d}./".into(),
        "absolute/".into(),
        "relative/".into(),
        "twice/".into(),
        "inside/relative/".into(),
        "root/".into(),
        "cwd/".into(),
        "self/root/".into(),
        "fds/".into(),
        "round/".into(),
        "dangling/".into(),
        "/proc/self/root/".into(),
        "/proc/self/cwd/".into(),
        "/dev/fd/../".into(),
        "/proc/self/fd/3/../".into(),
        " ../".into(),
        "../ ".into(),
        "a".repeat(5000) + "/../../",
        "inside/".repeat(100) + &"../".repeat(101),
    ];
    let goals = [
        "secret.txt".to_owned(),
        "secret.txt/".into(),
        "secret.txt\0.png".into(),
        "outside/secret.txt".into(),
        "outside/dir/secret.txt".into(),
        "outside/new.txt".into(),
        "outside".into(),
        format!("{root}/secret.txt"),
        "etc/passwd".into(),
        String::new(),
    ];
    let mut all = BTreeSet::new();
    for way in &ways {
        all.extend(goals.iter().map(|goal| format!("{way}{goal}")));
    }
    all
}

fn lay_links(yard: &Yard) {
    let outside = yard.path("outside");
    for (target, link) in [
        (outside.as_path(), "absolute"),
        (Path::new("../outside"), "relative"),
        (Path::new("../../outside"), "inside/relative"),
        (Path::new("relative"), "twice"),
        (Path::new("/proc/self/root"), "root"),
        (Path::new("/proc/self/cwd"), "cwd"),
        (Path::new("/proc/self"), "self"),
        (Path::new("/proc/self/fd"), "fds"),
        (Path::new("round"), "round"),
        (Path::new("../outside/nothing"), "dangling"),
        (Path::new("../secret.txt"), "secret.txt"),
        (Path::new("/etc/passwd"), "etc"),
        (Path::new("inside/../../secret.txt"), "inside/secret.txt"),
    ] {
        symlink(target, yard.path("work").join(link)).unwrap();
    }
}

/// Tries everything with one path; says whether anything was let through.
fn attack(workspace: &Workspace, text: &str) -> bool {
    let Ok(path) = WorkspacePath::parse(text, Some(workspace.path())) else { return false };
    let mut done = false;
    if let Ok(mut open) = workspace.open_file(&path) {
        let mut held = String::new();
        open.file.read_to_string(&mut held).unwrap();
        assert!(!held.contains(CANARY) && !held.contains("root:"), "{text:?} was read");
        done = true;
    }
    if let Ok((entries, _)) = workspace.list(&path, 1000) {
        let named = |name: &[u8]| entries.iter().any(|entry| entry.name == name);
        assert!(!named(b"outside") && !named(b"passwd") && !named(b"dir"), "{text:?} was listed");
        done = true;
    }
    if let Ok(target) = workspace.target(&path) {
        let held = target.read(1 << 20);
        assert!(
            !held.is_ok_and(|held| held.is_some_and(|held| held == CANARY.as_bytes())),
            "{text:?} was read"
        );
        done |= target.write(b"written by the agent").is_ok();
    }
    done
}

#[test]
fn no_path_leads_out_of_the_workspace() {
    let yard = Yard::new();
    lay_links(&yard);
    let payloads = payloads(&yard);
    assert!(payloads.len() >= 300, "{}", payloads.len());
    let before = yard.outside();
    let workspace = yard.open();
    let etc = fs::metadata("/etc/passwd").unwrap().modified().unwrap();
    let let_through = payloads.iter().filter(|text| attack(&workspace, text)).count();
    assert!(yard.outside() == before, "something outside was changed");
    assert_eq!(fs::metadata("/etc/passwd").unwrap().modified().unwrap(), etc);
    // Odd names are names, beneath the workspace: those are let through, so that what refuses is the place.
    assert!(let_through > 20 && let_through < payloads.len() / 2, "{let_through} of {}", payloads.len());
}

/// The same through the tools, as a model would.
#[tokio::test(start_paused = true)]
async fn the_tools_refuse_what_leads_out() {
    let world = World::new().await;
    let outside = tempfile::tempdir().unwrap();
    put(&outside.path().join("secret.txt"), CANARY);
    symlink(outside.path(), world.path("link")).unwrap();
    symlink(outside.path().join("secret.txt"), world.path("secret")).unwrap();
    let absolute = outside.path().join("secret.txt");
    let absolute = absolute.to_str().unwrap();
    for path in ["link/secret.txt", "secret", "../secret.txt", absolute, "/etc/passwd", "a\0b", ""] {
        for (tool, arguments) in [
            ("read_file", json!({"path": path})),
            ("write_file", json!({"path": path, "content": "x"})),
            ("edit_file", json!({"path": path, "old": "canary", "new": "x"})),
            ("view_image", json!({"path": path})),
            ("list_dir", json!({"path": path})),
            ("glob", json!({"path": path, "pattern": "*"})),
            ("grep", json!({"path": path, "pattern": "canary"})),
        ] {
            let refused = world.refused(tool, arguments).await;
            assert!(!refused.contains(CANARY), "{tool} {path}: {refused}");
        }
    }
    for (tool, arguments) in [
        ("list_dir", json!({"path": "link"})),
        ("glob", json!({"path": "link", "pattern": "*"})),
        ("grep", json!({"path": "link", "pattern": "canary"})),
    ] {
        let refused = world.refused(tool, arguments).await;
        assert!(refused.contains("leads out of the workspace"), "{tool}: {refused}");
    }
    // Links are seen by a search, not followed.
    assert_eq!(world.told("grep", json!({"pattern": "canary"})).await, "[nothing fits]\n");
    assert_eq!(fs::read_to_string(absolute).unwrap(), CANARY);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

/// Links of the kernel's own lead anywhere: into other processes, to files that are open.
#[test]
fn links_of_the_kernel_are_not_followed() {
    let file = fs::File::open("/etc/passwd").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let workspaces = Workspaces::new(WorkspaceSettings::Shared("/proc/self".into()));
    let workspace = workspaces.open(&place()).unwrap();
    for path in ["root/etc/passwd", "cwd/Cargo.toml", "exe", &format!("fd/{fd}"), "task/../root/etc/passwd"] {
        let path = WorkspacePath::parse(path, None).unwrap();
        let refused = workspace.open_file(&path).unwrap_err();
        assert!(matches!(refused, FileError::Links(_)), "{path:?}: {refused}");
    }
}

#[test]
fn a_path_is_parsed_once_into_what_it_can_be() {
    let parse = |text: &str| WorkspacePath::parse(text, Some(Path::new("/w/s"))).map(|path| path.text());
    for (text, path) in [
        ("a", "a"),
        ("a//b/", "a/b"),
        ("./a/./b/../c", "a/c"),
        (".", "."),
        ("a/..", "."),
        ("/w/s/a", "a"),
        ("/w/s", "."),
        ("/w/../w/s/a/", "a"),
        ("~a", "~a"),
        ("..a", "..a"),
    ] {
        assert_eq!(parse(text).unwrap(), path);
    }
    let deep = "a/".repeat(65);
    let (name, long) = ("n".repeat(256), "p/".repeat(2049));
    for (text, fault) in [
        ("", PathError::Empty),
        ("a\0", PathError::Nul),
        ("..", PathError::Outside),
        ("a/../../b", PathError::Outside),
        ("/", PathError::Outside),
        ("/w", PathError::Outside),
        ("/w/s2", PathError::Outside),
        ("/w/s/../t", PathError::Outside),
        ("~", PathError::Home),
        ("~/a", PathError::Home),
        (&deep, PathError::TooLong),
        (&name, PathError::TooLong),
        (&long, PathError::TooLong),
    ] {
        assert_eq!(parse(text), Err(fault), "{text:?}");
    }
}
