//! `moongate chat` without a terminal: for scripts and pipes.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
};

use crate::home::{Home, Ran};

fn with_input(home: &Home, arguments: &[&str], input: &str) -> Ran {
    let mut child = home
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
}

#[test]
fn one_question_prints_the_answer_and_nothing_else() {
    let home = Home::new();
    let ran = home.run(&["chat", "/long 3"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "word1 word2 word3.\n", ""));
}

#[test]
fn a_failed_turn_is_exit_code_1_with_its_code() {
    let home = Home::new();
    let ran = home.run(&["chat", "/fail auth"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("provider_auth"), "{ran:?}");
}

#[test]
fn events_are_json_lines_without_a_gap() {
    let home = Home::new();
    let ran = home.run(&["chat", "--json", "/think\n/long 5"]);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"input.accepted"));
    assert_eq!(kinds.last(), Some(&"turn.completed"));
    assert!(kinds.contains(&"message.completed") && kinds.contains(&"usage.recorded"), "{kinds:?}");
}

#[test]
fn a_pipe_is_one_question_or_one_a_line() {
    let home = Home::new();
    let ran = with_input(&home, &["chat", "-"], "first\nsecond");
    assert!(ran.stdout.contains("> first\n> second"), "{ran:?}");
    let ran = with_input(&home, &["chat"], "/long 2\n\n/long 1\n/quit\n/long 9\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "word1 word2.\nword1.\n"));
    let ran = with_input(&home, &["chat"], "/fail cut\n");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("provider_cut"), "{ran:?}");
}

#[test]
fn a_conversation_goes_on() {
    let home = Home::new();
    home.done(&["chat", "first"]);
    let answer = home.done(&["chat", "--continue", "second"]);
    assert!(answer.contains("conversation of 3 messages"), "{answer}");
    let sessions = home.run(&["chat", "--session", "ses_00000000000000000000000000", "hi"]);
    assert_eq!(sessions.code, 1);
    assert!(sessions.stderr.contains("not_found"), "{sessions:?}");
}

#[test]
fn who_says_nothing_leaves_nothing() {
    let home = Home::new();
    let _server = home.serve(&[]);
    assert_eq!(home.done(&["chat"]), "");
    assert!(home.done(&["sessions", "list"]).contains("no sessions"));
}

#[test]
fn an_image_goes_along() {
    let home = Home::new();
    let png = home.path().join("dot.png");
    std::fs::write(&png, [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0]).unwrap();
    let ran = home.run(&["chat", "--json", "--image", png.to_str().unwrap(), "look"]);
    assert!(ran.stdout.contains("\"media_type\":\"image/png\""), "{ran:?}");
    let text = home.write("text.txt", "no image");
    let ran = home.run(&["chat", "--image", text.to_str().unwrap(), "look"]);
    assert_eq!(ran.code, 2);
}

/// Answers one chat completion and says what was asked.
fn upstream(listener: &TcpListener) -> String {
    let (mut socket, _) = listener.accept().unwrap();
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        let read = socket.read(&mut piece).unwrap();
        assert_ne!(read, 0, "the request broke off");
        request.extend_from_slice(&piece[..read]);
    }
    let answer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello from afar\"}}]}\n\n\
                  data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    String::from_utf8(request).unwrap()
}

#[test]
fn a_key_and_an_address_in_the_environment_are_enough() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || upstream(&listener));
    let variables = [
        ("OPENAI_BASE_URL", base.as_str()),
        ("OPENAI_API_KEY", "s3cr3t-key"),
        ("MOONGATE_MODEL", "some-model"),
        ("MOONGATE_LOG", "trace"),
    ];
    let ran = Ran::of(&home.command(&["chat", "hi"]).envs(variables).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Hello from afar\n"), "{}", ran.stderr);
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /v1/chat/completions HTTP/1.1"), "{asked}");
    assert!(
        asked.contains("authorization: Bearer s3cr3t-key") && asked.contains("\"some-model\""),
        "{asked}"
    );
    assert!(!ran.stderr.contains("s3cr3t-key"), "the key is in the log");
}

#[test]
fn wrong_use_is_2_and_nobody_there_is_3() {
    let home = Home::new();
    for (arguments, code) in [
        (&["chat", "--nonsense"][..], 2),
        (&["chat", " "], 2),
        (&["chat", "--session", "ses_x", "hi"], 2),
        (&["--listen", "127.0.0.1:0", "chat", "hi"], 2),
        (&["chat", "--server", "nonsense", "hi"], 2),
        (&["chat", "--server", "https://elsewhere.example", "hi"], 2),
        (&["sessions", "list"], 3),
        (&["chat", "--server", "http://127.0.0.1:1", "hi"], 3),
        (&["--version"], 0),
        (&["help"], 0),
    ] {
        assert_eq!(home.run(arguments).code, code, "{arguments:?}");
    }
    home.done(&["chat", "/long 1"]);
    let ran = home.run(&["chat", "--server", "http://127.0.0.1:1", "hi"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{ran:?}");
}
