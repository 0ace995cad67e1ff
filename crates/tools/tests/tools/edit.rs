//! `edit_file`.

use serde_json::json;

use crate::World;

#[tokio::test(start_paused = true)]
async fn text_that_is_there_once_is_replaced() {
    let world = World::new().await;
    world.put("a.rs", "fn a() {\n    1\n}\nfn b() {\n    1\n}\n");
    let edit = |old: &str, new: &str| json!({"path": "a.rs", "old": old, "new": new});
    let twice = world.refused("edit_file", edit("    1", "    2")).await;
    assert!(twice.contains("2 times"), "{twice}");
    let nowhere = world.refused("edit_file", edit("    3", "    2")).await;
    assert!(nowhere.contains("nowhere"), "{nowhere}");
    for (old, new) in [("", "x"), ("fn a", "fn a")] {
        world.refused("edit_file", edit(old, new)).await;
    }
    assert_eq!(
        world.text("a.rs"),
        "fn a() {\n    1\n}\nfn b() {\n    1\n}\n",
        "nothing was changed by a refusal"
    );
    let told = world.told("edit_file", edit("fn b() {\n    1", "fn b() {\n    2")).await;
    assert_eq!(told, "Changed a.rs: 1 lines added, 1 removed.");
    assert_eq!(world.text("a.rs"), "fn a() {\n    1\n}\nfn b() {\n    2\n}\n");
    world.told("edit_file", json!({"path": "a.rs", "old": "fn ", "new": "pub fn ", "all": true})).await;
    assert_eq!(world.text("a.rs"), "pub fn a() {\n    1\n}\npub fn b() {\n    2\n}\n");
}

#[tokio::test(start_paused = true)]
async fn a_diff_is_applied_as_a_whole_or_not_at_all() {
    let world = World::new().await;
    world.put("a.txt", "one\ntwo\nthree\n");
    let patch = |patch: &str| json!({"path": "a.txt", "patch": patch});
    let fits = "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n-one\n+1\n two\n@@ -3 +3,2 @@\n three\n+four";
    world.told("edit_file", patch(fits)).await;
    assert_eq!(world.text("a.txt"), "1\ntwo\nthree\nfour\n");
    let half = "@@ -1 +1 @@\n-1\n+one\n@@ -3 +3 @@\n-drei\n+three\n";
    let refused = world.refused("edit_file", patch(half)).await;
    assert!(refused.contains("part 2"), "{refused}");
    assert_eq!(world.text("a.txt"), "1\ntwo\nthree\nfour\n");
    let made = json!({"path": "b.txt", "patch": "--- /dev/null\n+++ b/b.txt\n@@ -0,0 +1 @@\n+hello\n"});
    world.told("edit_file", made).await;
    assert_eq!(world.text("b.txt"), "hello\n");
}

#[tokio::test(start_paused = true)]
async fn lines_keep_the_ends_their_file_has() {
    let world = World::new().await;
    world.put("dos.txt", "one\r\ntwo\r\n");
    world.told("edit_file", json!({"path": "dos.txt", "old": "one\ntwo", "new": "1\n2"})).await;
    assert_eq!(world.text("dos.txt"), "1\r\n2\r\n");
    world.told("edit_file", json!({"path": "dos.txt", "patch": "@@ -1,2 +1,2 @@\n 1\n-2\n+3\n"})).await;
    assert_eq!(world.text("dos.txt"), "1\r\n3\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_edited_is_an_answer_in_words() {
    let world = World::new().await;
    world.put("data", b"a\xff\n");
    world.put("a", "a\n");
    for (arguments, why) in [
        (json!({"path": "data", "old": "a", "new": "b"}), "no text in UTF-8"),
        (json!({"path": "none", "old": "a", "new": "b"}), "nothing at"),
        (json!({"path": ".", "old": "a", "new": "b"}), "a folder"),
        (json!({"path": "a"}), "give `old` and `new`, or `patch`"),
        (json!({"path": "a", "old": "a"}), "give `old` and `new`, or `patch`"),
        (json!({"path": "a", "old": "a", "new": "b", "patch": "@@"}), "give `old` and `new`, or `patch`"),
        (json!({"path": "a", "patch": "@@ -1 +1 @@\n-a\n+b\n", "all": true}), "`all` goes with"),
    ] {
        let refused = world.refused("edit_file", arguments.clone()).await;
        assert!(refused.to_lowercase().contains(&why.to_lowercase()), "{arguments}: {refused}");
    }
    let large = "x".repeat(9 * 1024 * 1024);
    world.put("large", &large);
    let refused =
        world.refused("edit_file", json!({"path": "large", "old": "x", "new": "y", "all": true})).await;
    assert!(refused.contains("has 9437184 bytes"), "{refused}");
}

/// Two calls of one message change the same file: both changes are there.
#[tokio::test]
async fn calls_that_change_one_file_at_once_lose_nothing() {
    use moongate_testkit::{Script, says};
    let world = World::new().await;
    let words: Vec<String> = (0..8).map(|word| format!("word{word}\n")).collect();
    world.put("a.txt", words.concat());
    let session = world.kit.session().await;
    let mut client = world.kit.client(session.id()).await;
    let edits: Vec<_> = (0..8)
        .map(|word| {
            json!({"path": "a.txt", "old": format!("word{word}\n"), "new": format!("changed{word}\n")})
        })
        .collect();
    let calls: Vec<_> = edits.into_iter().map(|edit| ("edit_file", edit)).collect();
    world.kit.model().push([Script::calls(&calls)]);
    session.submit(says("go")).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(world.text("a.txt"), words.concat().replace("word", "changed"));
}
