//! `write_file`.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use moongate_protocol::{PolicyPreset, ToolOutcome};
use serde_json::json;

use crate::{World, told};

#[tokio::test(start_paused = true)]
async fn a_file_is_made_and_replaced_and_clients_get_the_change() {
    let world = World::new().await;
    let made = world.call("write_file", json!({"path": "src/new/a.txt", "content": "one\ntwo\n"})).await;
    assert_eq!(told(&made), "Wrote src/new/a.txt: a new file of 8 bytes.");
    assert_eq!(world.text("src/new/a.txt"), "one\ntwo\n");
    let data = made.data.unwrap();
    assert_eq!(data["created"], true);
    assert_eq!(data["diff"], "--- /dev/null\n+++ b/src/new/a.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n");
    let changed = world.call("write_file", json!({"path": "src/new/a.txt", "content": "one\n2\n"})).await;
    assert_eq!(told(&changed), "Changed src/new/a.txt: 1 lines added, 1 removed.");
    let data = changed.data.unwrap();
    assert_eq!(data["diff"], "--- a/src/new/a.txt\n+++ b/src/new/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
    assert_eq!((&data["added"], &data["removed"], &data["created"]), (&json!(1), &json!(1), &json!(false)));
    let left: Vec<_> = fs::read_dir(world.path("src/new")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left over");
}

#[tokio::test(start_paused = true)]
async fn a_file_keeps_its_mode_and_its_other_names_what_they_hold() {
    let world = World::new().await;
    world.put("run.sh", "old\n");
    fs::set_permissions(world.path("run.sh"), fs::Permissions::from_mode(0o4750)).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let twin = outside.path().join("twin");
    fs::hard_link(world.path("run.sh"), &twin).unwrap();
    world.told("write_file", json!({"path": "run.sh", "content": "new\n"})).await;
    assert_eq!(world.text("run.sh"), "new\n");
    assert_eq!(fs::metadata(world.path("run.sh")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_to_string(twin).unwrap(), "old\n", "another name of the file is not written through");
    fs::set_permissions(world.path("run.sh"), fs::Permissions::from_mode(0o444)).unwrap();
    let refused = world.refused("write_file", json!({"path": "run.sh", "content": "x"})).await;
    assert_eq!(refused, "Not done: run.sh is read-only.");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_stays_in_the_workspace_is_written_through() {
    let world = World::new().await;
    world.put("real/a.txt", "old\n");
    symlink("../real/a.txt", {
        fs::create_dir(world.path("links")).unwrap();
        world.path("links/a")
    })
    .unwrap();
    symlink("real", world.path("folder")).unwrap();
    world.told("write_file", json!({"path": "links/a", "content": "new\n"})).await;
    assert_eq!(world.text("real/a.txt"), "new\n");
    assert!(fs::symlink_metadata(world.path("links/a")).unwrap().is_symlink(), "the link is still one");
    world.told("write_file", json!({"path": "folder/b.txt", "content": "b\n"})).await;
    assert_eq!(world.text("real/b.txt"), "b\n");
}

/// Every name in several dresses, there and not there, and through links.
#[tokio::test(start_paused = true)]
async fn protected_names_are_not_written_also_where_nothing_is_there() {
    let world = World::new().await;
    fs::create_dir_all(world.path(".git/hooks")).unwrap();
    world.put(".git/config", "[core]\n");
    world.put("x.txt", "x\n");
    symlink(".git", world.path("repo")).unwrap();
    symlink(".git/hooks", world.path("h")).unwrap();
    symlink(".envrc", world.path("harmless.txt")).unwrap();
    symlink("harmless.txt", world.path("more-harmless.txt")).unwrap();
    fs::create_dir(world.path("sub")).unwrap();
    symlink("../repo/../.git/./config", world.path("sub/c")).unwrap();
    for path in [
        ".git/hooks/pre-commit",
        ".git/config",
        ".GIT/CONFIG",
        "sub/.git/hooks/x",
        "repo/hooks/pre-commit",
        "repo/config",
        "h/pre-commit",
        "harmless.txt",
        "more-harmless.txt",
        "sub/c",
        ".mcp.json",
        "deep/.Mcp.Json",
        ".vscode/tasks.json",
        ".idea/workspace.xml",
        ".envrc",
        ".bashrc",
        ".ssh/authorized_keys",
        "moongate.toml",
        "a/../.git/hooks/post-merge",
        ".gi\u{200d}t/config",
    ] {
        let finished =
            world.call("write_file", json!({"path": path, "content": "[core]\nfsmonitor = evil\n"})).await;
        assert_eq!(finished.outcome, ToolOutcome::Denied, "{path:?}: {}", told(&finished));
        assert!(told(&finished).contains("protected name"), "{path:?}: {}", told(&finished));
    }
    let edit = json!({"path": "repo/config", "old": "[core]", "new": "[evil]"});
    assert_eq!(world.call("edit_file", edit).await.outcome, ToolOutcome::Denied);
    assert_eq!(world.text(".git/config"), "[core]\n");
    assert_eq!(fs::read_dir(world.path(".git/hooks")).unwrap().count(), 0);
    for missing in [".mcp.json", ".envrc", ".vscode", "deep", ".ssh", "moongate.toml"] {
        assert!(fs::symlink_metadata(world.path(missing)).is_err(), "{missing} was made");
    }
    // They are read like any other file.
    assert_eq!(world.told("read_file", json!({"path": ".git/config"})).await, "     1\t[core]\n");
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_may_only_read_it_does_not_write() {
    let world = World::under(PolicyPreset::ReadOnly).await;
    world.put("a", "a\n");
    assert_eq!(world.told("read_file", json!({"path": "a"})).await, "     1\ta\n");
    for (tool, arguments) in [
        ("write_file", json!({"path": "a", "content": "b"})),
        ("edit_file", json!({"path": "a", "old": "a", "new": "b"})),
    ] {
        assert_eq!(world.call(tool, arguments).await.outcome, ToolOutcome::Denied);
    }
    assert_eq!(world.text("a"), "a\n");
    let world = World::under(PolicyPreset::WorkspaceWrite).await;
    world.told("write_file", json!({"path": "a", "content": "b"})).await;
    assert_eq!(world.text("a"), "b");
}
