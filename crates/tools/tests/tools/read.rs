//! `read_file`.

use std::fs;

use moongate_protocol::ToolOutcome;
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;

use crate::{World, told};

#[tokio::test(start_paused = true)]
async fn lines_come_with_their_numbers_and_say_how_to_read_on() {
    let world = World::new().await;
    world.put("a/b.txt", "one\ntwo\nthree\nfour\n");
    let whole = world.told("read_file", json!({"path": "a/b.txt"})).await;
    assert_eq!(whole, "     1\tone\n     2\ttwo\n     3\tthree\n     4\tfour\n");
    let some = world.told("read_file", json!({"path": "./a/../a//b.txt", "offset": 2, "limit": 2})).await;
    assert_eq!(some, "     2\ttwo\n     3\tthree\n[there is more: read on with offset 4]");
    let last = world.told("read_file", json!({"path": "a/b.txt", "offset": 4})).await;
    assert_eq!(last, "     4\tfour\n");
    let none = world.told("read_file", json!({"path": "a/b.txt", "offset": 9})).await;
    assert_eq!(none, "[a/b.txt has 4 lines, none from 9 on]");
    world.put("empty", "");
    assert_eq!(world.told("read_file", json!({"path": "empty"})).await, "[empty is empty]");
    let absolute = world.path("a/b.txt");
    assert_eq!(world.told("read_file", json!({"path": absolute})).await, whole);
}

#[tokio::test(start_paused = true)]
async fn a_large_file_is_read_piece_by_piece_to_its_end() {
    let world = World::new().await;
    let lines = 200_000;
    let text: String = (1..=lines).map(|line| format!("{line} {}\n", "x".repeat(45))).collect();
    assert!(text.len() > 10_000_000);
    world.put("large", &text);
    let (mut offset, mut calls) = (197_000, 0);
    let mut seen = String::new();
    loop {
        let told = world.told("read_file", json!({"path": "large", "offset": offset})).await;
        assert!(told.len() < 64 * 1024, "nothing is cut but by the tool");
        let more = told.rsplit_once("[there is more: read on with offset ");
        seen.push_str(more.map_or(&*told, |(lines, _)| lines));
        calls += 1;
        let Some((_, next)) = more else { break };
        offset = next.trim_end_matches(']').parse().unwrap();
    }
    let read: Vec<&str> = seen.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    let whole: Vec<&str> = text.lines().skip(196_999).collect();
    assert_eq!(read, whole);
    assert!(calls > 1, "it took more than one call");
    let long = format!("{}\nnext\n", "y".repeat(100_000));
    world.put("one-line", long);
    let told = world.told("read_file", json!({"path": "one-line"})).await;
    assert!(told.contains("[95904 more bytes of this line]\n     2\tnext\n"), "{}", &told[told.len() - 80..]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_text_file_is_an_answer_in_words() {
    let world = World::new().await;
    world.put("data", [0_u8, 159, 146, 150]);
    let binary = world.refused("read_file", json!({"path": "data"})).await;
    assert_eq!(binary, "Not done: data is no text but data of 4 bytes; view_image shows images.");
    fs::create_dir(world.path("folder")).unwrap();
    let folder = world.refused("read_file", json!({"path": "folder"})).await;
    assert_eq!(folder, "Not done: folder is a folder, not a file.");
    let missing = world.refused("read_file", json!({"path": "none/at/all"})).await;
    assert_eq!(missing, "Not done: there is nothing at none/at/all.");
    world.put("latin", b"gr\xfc\xdfe\n");
    assert_eq!(world.told("read_file", json!({"path": "latin"})).await, "     1\tgr\u{fffd}\u{fffd}e\n");
    for arguments in
        [json!({}), json!({"path": "a", "offset": 0}), json!({"path": "a", "more": 1}), json!({"path": 1})]
    {
        let finished = world.call("read_file", arguments.clone()).await;
        assert_eq!(finished.outcome, ToolOutcome::Error, "{arguments}: {}", told(&finished));
    }
}

#[tokio::test]
async fn a_pipe_does_not_hold_a_call_up_and_a_device_is_not_opened() {
    let world = World::new().await;
    let pipe = world.path("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).unwrap();
    for (tool, more) in [
        ("read_file", json!({"path": "pipe"})),
        ("read_file", json!({"path": "socket"})),
        ("view_image", json!({"path": "pipe"})),
        ("edit_file", json!({"path": "pipe", "old": "a", "new": "b"})),
        ("write_file", json!({"path": "pipe", "content": "x"})),
        ("write_file", json!({"path": "socket", "content": "x"})),
    ] {
        let refused = world.refused(tool, more).await;
        assert!(refused.contains("a device, a pipe or a socket"), "{tool}: {refused}");
    }
    // They are passed by, not waited at.
    world.put("text", "needle\n");
    assert_eq!(world.told("grep", json!({"pattern": "needle"})).await, "text:1:needle\n");
    let listed = world.told("list_dir", json!({})).await;
    assert!(listed.contains("pipe (a device, a pipe or a socket)\n"), "{listed}");
}
