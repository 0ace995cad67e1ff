//! `list_dir`, `glob` and `grep`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use serde_json::json;

use crate::World;

#[tokio::test(start_paused = true)]
async fn a_folder_is_listed_with_what_each_entry_is() {
    let world = World::new().await;
    assert_eq!(world.told("list_dir", json!({})).await, "[the folder is empty]");
    world.put("b/c.txt", "1234");
    world.put("a.txt", "12");
    symlink("a.txt", world.path("z")).unwrap();
    assert_eq!(world.told("list_dir", json!({})).await, "a.txt (2 bytes)\nb/\nz@\n");
    assert_eq!(world.told("list_dir", json!({"path": "b/"})).await, "c.txt (4 bytes)\n");
    let file = world.refused("list_dir", json!({"path": "a.txt"})).await;
    assert_eq!(file, "Not done: a.txt is a file or goes through one, not a folder.");
}

#[tokio::test(start_paused = true)]
async fn hostile_names_are_shown_on_one_line_and_can_be_handed_back() {
    let world = World::new().await;
    let long = "n".repeat(255);
    let names = [
        "new\nline (5 bytes)\nfake",
        "\u{1b}[2J\u{1b}[31mred",
        "\u{202e}cod.exe",
        "\u{200b}",
        "\"q\"",
        &long,
    ];
    for name in names {
        world.put(name, "needle\n");
    }
    fs::write(world.folder.path().join(OsStr::from_bytes(b"\xff\xfe")), "needle\n").unwrap();
    for (tool, arguments) in
        [("list_dir", json!({})), ("glob", json!({"pattern": "**"})), ("grep", json!({"pattern": "needle"}))]
    {
        let told = world.told(tool, arguments).await;
        let odd = told.chars().find(|c| *c != '\n' && moongate_core::is_hidden(*c));
        assert_eq!(odd, None, "{tool}: {told:?}");
        assert_eq!(told.lines().count(), names.len() + 1, "{tool}: {told}");
        for line in told.lines().filter(|line| line.starts_with('"')) {
            let end = line.rfind('"').unwrap();
            let name: String = serde_json::from_str(&line[..=end]).unwrap();
            assert!(names.contains(&&*name), "{name:?}");
            let read = world.told("read_file", json!({"path": name})).await;
            assert_eq!(read, "     1\tneedle\n");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn paths_are_found_by_patterns_and_what_is_ignored_is_left_out() {
    let world = World::new().await;
    for path in
        ["src/a.rs", "src/deep/b.rs", "src/c.txt", "target/d.rs", "keep/target/e.rs", ".git/f.rs", "log.rs"]
    {
        world.put(path, "");
    }
    world.put(".gitignore", "/target\nlog.*\n");
    world.put("src/deep/.gitignore", "!log.rs\n");
    world.put("src/deep/log.rs", "");
    let glob = async |arguments| world.told("glob", arguments).await;
    let all = "src/a.rs\nsrc/deep/b.rs\nsrc/deep/log.rs\n";
    assert_eq!(glob(json!({"pattern": "*.rs"})).await, format!("keep/target/e.rs\n{all}"));
    assert_eq!(glob(json!({"pattern": "src/*.rs"})).await, "src/a.rs\n");
    assert_eq!(glob(json!({"pattern": "**/*.rs", "path": "src"})).await, all);
    assert_eq!(glob(json!({"pattern": "*.{txt,md}"})).await, "src/c.txt\n");
    assert_eq!(glob(json!({"pattern": "d.rs", "ignored": true})).await, "target/d.rs\n");
    assert_eq!(glob(json!({"pattern": "none"})).await, "[nothing fits]\n");
    let cut = glob(json!({"pattern": "*.rs", "limit": 1})).await;
    assert_eq!(cut, "keep/target/e.rs\n[there is more: name a folder or a narrower pattern]\n");
    let refused = world.refused("glob", json!({"pattern": "{a"})).await;
    assert!(refused.starts_with("Not done: the pattern is none"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn lines_are_found_with_what_is_around_them() {
    let world = World::new().await;
    world.put("a.txt", "one\ntwo\nthree\nfour\n");
    world.put("b/c.rs", "Two\n");
    world.put("data", b"two\0\n");
    world.put("skip/d.txt", "two\n");
    world.put(".gitignore", "skip\n");
    let grep = async |arguments| world.told("grep", arguments).await;
    assert_eq!(grep(json!({"pattern": "^t[wh]"})).await, "a.txt:2:two\na.txt:3:three\n");
    assert_eq!(grep(json!({"pattern": "two", "ignore_case": true})).await, "a.txt:2:two\nb/c.rs:1:Two\n");
    assert_eq!(
        grep(json!({"pattern": "two", "context": 1})).await,
        "a.txt-1-one\na.txt:2:two\na.txt-3-three\n"
    );
    assert_eq!(grep(json!({"pattern": "(?i)two", "glob": "*.rs"})).await, "b/c.rs:1:Two\n");
    assert_eq!(grep(json!({"pattern": "two", "path": "skip/d.txt"})).await, "skip/d.txt:1:two\n");
    assert_eq!(grep(json!({"pattern": "two", "path": "skip", "ignored": true})).await, "skip/d.txt:1:two\n");
    assert_eq!(grep(json!({"pattern": "none"})).await, "[nothing fits]\n");
    let cut = grep(json!({"pattern": ".", "limit": 2})).await;
    assert!(cut.contains("a.txt:1:one\n"), "{cut}");
    assert!(cut.ends_with("[there may be more: name a folder or a narrower expression]\n"), "{cut}");
    let refused = world.refused("grep", json!({"pattern": "(a"})).await;
    assert!(refused.starts_with("Not done: the expression is none"), "{refused}");
    // One that takes other engines for ever.
    world.put("as", format!("{}b\n", "a".repeat(50_000)));
    assert_eq!(grep(json!({"pattern": "^(a+)+$", "path": "as"})).await, "[nothing fits]\n");
}

#[tokio::test(start_paused = true)]
async fn links_that_go_round_are_no_way_to_go() {
    let world = World::new().await;
    world.put("d/needle.txt", "needle\n");
    for (target, link) in
        [(".", "here"), ("..", "d/up"), ("b", "a"), ("a", "b"), ("self", "self"), ("d/up", "far")]
    {
        symlink(target, world.path(link)).unwrap();
    }
    assert_eq!(world.told("grep", json!({"pattern": "needle"})).await, "d/needle.txt:1:needle\n");
    assert_eq!(world.told("glob", json!({"pattern": "*.txt"})).await, "d/needle.txt\n");
    for path in ["a", "self", "a/x", "self/x"] {
        for (tool, arguments) in [
            ("read_file", json!({"path": path})),
            ("write_file", json!({"path": path, "content": "x"})),
            ("list_dir", json!({"path": path})),
            ("grep", json!({"pattern": "x", "path": path})),
        ] {
            let refused = world.refused(tool, arguments).await;
            assert!(refused.contains("links that cannot be followed"), "{tool} {path}: {refused}");
        }
    }
    let round = format!("{}d/needle.txt", "here/".repeat(30));
    assert_eq!(world.told("read_file", json!({"path": round})).await, "     1\tneedle\n");
    let longer = format!("{}d/needle.txt", "here/".repeat(50));
    world.refused("read_file", json!({"path": longer})).await;
}
