//! `shell`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use moongate_core::{Reach, SessionHandle};
use moongate_protocol::{Cancel, Event, Part, PolicyPreset, ToolFinished, ToolOutcome};
use moongate_testkit::{Client, Script, says};
use moongate_tools::{SandboxChoice, Settings, ShellSettings, WebSettings, WorkspaceSettings, built_in};
use serde_json::{Value, json};

use crate::{World, told};

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Processes of this machine whose arguments hold a text.
fn processes_with(mark: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let arguments = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = arguments.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    texts.filter(|text| text.contains(mark)).collect()
}

fn fact<'a>(finished: &'a ToolFinished, name: &str) -> &'a Value {
    &finished.data.as_ref().unwrap()[name]
}

#[tokio::test]
async fn a_command_runs_in_the_workspace_and_says_how_it_ended() {
    let world = World::new().await;
    let finished = world.call("shell", json!({"command": "pwd; echo wörd; echo oops >&2; exit 3"})).await;
    assert_eq!(told(&finished), "/workspace\nwörd\noops\n[exit code 3]");
    assert_eq!(finished.outcome, ToolOutcome::Error);
    assert_eq!(fact(&finished, "exit_code"), 3);
    assert_eq!(fact(&finished, "sandbox"), "bubblewrap");
    fs::create_dir(world.folder().join("sub")).unwrap();
    let argv = json!({"argv": ["/bin/sh", "-c", "echo \"$1\" > file; pwd", "sh", "$HOME; id"], "cwd": "sub"});
    let finished = world.call("shell", argv).await;
    assert_eq!((finished.outcome, told(&finished)), (ToolOutcome::Ok, "/workspace/sub\n".into()));
    assert_eq!(fs::read_to_string(world.folder().join("sub/file")).unwrap(), "$HOME; id\n");
    let killed = world.call("shell", json!({"command": "kill -9 $$"})).await;
    assert_eq!(fact(&killed, "signal"), 9);
}

#[tokio::test]
async fn what_is_no_command_is_an_error_the_model_sees() {
    let world = World::new().await;
    for arguments in [
        json!({}),
        json!({"command": "true", "argv": ["true"]}),
        json!({"command": ""}),
        json!({"argv": []}),
        json!({"argv": ["--bind", "/", "/mnt"]}),
        json!({"command": "touch ran\u{0}"}),
        json!({"command": "touch ran", "cwd": "../.."}),
        json!({"command": "touch ran", "cwd": "/etc"}),
        json!({"command": "touch ran", "timeout_secs": 0}),
        json!({"command": "touch ran", "env": {"A": "b"}}),
    ] {
        let finished = world.call("shell", arguments.clone()).await;
        assert_eq!(finished.outcome, ToolOutcome::Error, "{arguments}");
    }
    assert!(names(world.folder()).is_empty(), "nothing ran");
    let missing = world.call("shell", json!({"argv": ["no-such-program"]})).await;
    assert!(told(&missing).contains("no-such-program"), "{missing:?}");
}

#[test]
fn the_policy_sees_the_argv_that_runs() {
    let settings = Settings {
        workspace: WorkspaceSettings::Shared(".".into()),
        shell: ShellSettings { choice: SandboxChoice::None, ..ShellSettings::default() },
        web: WebSettings::default(),
    };
    let tools = built_in(&settings);
    let shell = tools.iter().find(|tool| tool.spec().name.as_str() == "shell").unwrap();
    let reach = |arguments: Value| shell.reach(&arguments);
    let line = ["/bin/sh", "-c", "a && b"].map(String::from).to_vec();
    assert_eq!(reach(json!({"command": "a && b"})), Reach::Command(line));
    assert_eq!(reach(json!({"argv": ["a", "b c"]})), Reach::Command(vec!["a".into(), "b c".into()]));
}

#[tokio::test]
async fn a_command_waits_for_a_person_unless_the_policy_lets_everything_run() {
    for policy in [PolicyPreset::Ask, PolicyPreset::WorkspaceWrite] {
        let world = World::under(policy).await;
        let session = world.kit.session().await;
        let mut client = world.kit.client(session.id()).await;
        world.kit.model().push([Script::calls(&[("shell", json!({"command": "touch ran"}))])]);
        session.submit(says("go")).await.unwrap();
        client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
        assert!(names(world.folder()).is_empty(), "nothing ran under {policy:?}");
    }
    let world = World::under(PolicyPreset::ReadOnly).await;
    let finished = world.call("shell", json!({"command": "touch ran"})).await;
    assert_eq!(finished.outcome, ToolOutcome::Denied);
    assert!(names(world.folder()).is_empty());
}

#[tokio::test]
async fn a_program_gets_no_variable_of_the_gateway() {
    let world = World::new().await;
    let finished = world.call("shell", json!({"argv": ["/usr/bin/env"]})).await;
    let told = told(&finished);
    let mut variables: Vec<_> = told.lines().filter_map(|line| line.split('=').next()).collect();
    variables.sort_unstable();
    assert_eq!(variables, ["HOME", "LANG", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"]);
}

#[tokio::test]
async fn what_whoever_started_the_gateway_left_open_is_not_handed_on() {
    let world = World::new().await;
    let secret = fs::File::open("/proc/self/environ").unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let finished = world.call("shell", json!({"argv": ["/bin/ls", "/proc/self/fd"]})).await;
    assert_eq!(told(&finished), "0\n1\n2\n3\n", "the last one is the folder that is listed");
}

#[tokio::test]
async fn protected_names_are_masked_and_leave_nothing_behind() {
    let world = World::new().await;
    let tries = "for name in .mcp.json .bashrc .vscode/x .git/hooks/x moongate.toml; do \
                 (echo x > $name) 2>/dev/null && echo wrote $name; done; mkdir .git/objects 2>/dev/null && echo made; \
                 ls -A | tr '\\n' ' '";
    let finished = world.call("shell", json!({"command": tries})).await;
    assert!(!told(&finished).contains("wrote") && !told(&finished).contains("made"), "{finished:?}");
    assert!(told(&finished).contains(".mcp.json"), "it is there for the time of the call: {finished:?}");
    assert!(names(world.folder()).is_empty(), "{:?}", names(world.folder()));
    // As a gateway leaves them that was killed meanwhile.
    fs::write(world.folder().join(".mcp.json"), "").unwrap();
    fs::create_dir(world.folder().join(".git")).unwrap();
    for name in [".mcp.json", ".git"] {
        fs::set_permissions(world.folder().join(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let finished = world.call("shell", json!({"command": tries})).await;
    assert!(!told(&finished).contains("wrote") && !told(&finished).contains("made"), "{finished:?}");
    assert!(names(world.folder()).is_empty(), "{:?}", names(world.folder()));
    // Of two at once, the one that ends first takes nothing from the other.
    let first =
        Running::start(&world, json!({"command": format!("echo re\"\"ady; sleep 600; {tries}")})).await;
    let second = world.call("shell", json!({"command": tries})).await;
    assert!(!told(&second).contains("wrote") && !told(&second).contains("made"), "{second:?}");
    assert!(names(world.folder()).contains(&".mcp.json".to_owned()));
    first.session.cancel(Cancel::default()).await.unwrap();
    assert_eq!(first.finished().await.outcome, ToolOutcome::Cancelled);
    assert!(names(world.folder()).is_empty(), "{:?}", names(world.folder()));
    // What is a person's stays.
    fs::write(world.folder().join(".mcp.json"), "{}").unwrap();
    let finished = world.call("shell", json!({"command": "cat .mcp.json; echo x > .mcp.json"})).await;
    assert!(told(&finished).starts_with("{}") && finished.outcome == ToolOutcome::Error, "{finished:?}");
    assert_eq!(fs::read_to_string(world.folder().join(".mcp.json")).unwrap(), "{}");
    // What cannot be protected is refused.
    std::os::unix::fs::symlink("elsewhere", world.folder().join(".envrc")).unwrap();
    let finished = world.call("shell", json!({"command": "touch ran"})).await;
    assert!(told(&finished).contains(".envrc is a symbolic link"), "{finished:?}");
    assert_eq!(names(world.folder()), [".envrc", ".mcp.json"]);
}

#[tokio::test]
async fn a_session_sees_no_workspace_but_its_own() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let world =
        World::set(PolicyPreset::Full, |set| set.workspace = WorkspaceSettings::PerSession(path.clone()))
            .await;
    let first = world.call("shell", json!({"command": "echo mine > secret"})).await;
    assert_eq!(first.outcome, ToolOutcome::Ok, "{first:?}");
    let seen = format!("ls -A | grep -v '^\\.'; cat {}/*/secret", path.display());
    let second = world.call("shell", json!({"command": seen})).await;
    assert!(!told(&second).contains("mine") && !told(&second).starts_with("secret"), "{second:?}");
    assert_eq!(names(root.path()).len(), 2);
}

/// A call that runs.
struct Running {
    session: SessionHandle,
    client: Client,
}

impl Running {
    /// Starts a command and waits until it has said `ready`.
    async fn start(world: &World, arguments: Value) -> Self {
        let session = world.kit.session().await;
        let mut client = world.kit.client(session.id()).await;
        world.kit.model().push([Script::calls(&[("shell", arguments)])]);
        session.submit(says("go")).await.unwrap();
        client.until_shown("ready").await;
        Self { session, client }
    }

    /// What becomes of it.
    async fn finished(mut self) -> ToolFinished {
        let finished = self.client.until(|event| matches!(event, Event::ToolFinished(_))).await;
        let Event::ToolFinished(finished) = finished.event else { unreachable!("it was asked for") };
        finished
    }
}

#[tokio::test]
async fn a_cancel_while_the_sandbox_is_made_leaves_nothing() {
    let world = World::new().await;
    for number in 0..20 {
        let mark = format!("65432.{}{number}", std::process::id());
        let session = world.kit.session().await;
        let mut client = world.kit.client(session.id()).await;
        world
            .kit
            .model()
            .push([Script::calls(&[("shell", json!({"command": format!("sleep {mark}; true")}))])]);
        session.submit(says("go")).await.unwrap();
        client.until(|event| matches!(event, Event::ToolCalled(_))).await;
        // Each time a little further on.
        for _ in 0..number * 10 {
            tokio::task::yield_now().await;
        }
        session.cancel(Cancel::default()).await.unwrap();
        client.until_turn_ends().await;
        assert_eq!(processes_with(&mark), Vec::<String>::new(), "after {number} steps");
    }
    assert!(names(world.folder()).is_empty(), "{:?}", names(world.folder()));
}

/// What becomes of a command whose turn is cancelled as soon as it has said `ready`.
async fn cancelled(world: &World, command: &str) -> ToolFinished {
    let running = Running::start(world, json!({"command": command})).await;
    running.session.cancel(Cancel::default()).await.unwrap();
    running.finished().await
}

#[tokio::test]
async fn a_cancel_ends_every_process_however_it_hides() {
    let world = World::new().await;
    for (number, hidden) in [
        "sleep MARK & wait",
        "(setsid sleep MARK >/dev/null 2>&1 &) & setsid -f sleep MARK; sleep MARK",
        "nohup sleep MARK >/dev/null 2>&1 & sleep MARK",
        "trap '' TERM INT HUP; while :; do sleep MARK; done",
        "sh -c '(trap \"\" TERM; setsid sh -c \"sleep MARK; sleep MARK\" </dev/null >/dev/null 2>&1 &) &'; sleep MARK",
    ]
    .into_iter()
    .enumerate()
    {
        let mark = format!("98765.{}{number}", std::process::id());
        let command = format!("{}; true", hidden.replace("MARK", &mark));
        let started = std::time::Instant::now();
        let finished = cancelled(&world, &format!("sleep {mark} & echo re\"\"ady; {command}")).await;
        assert_eq!(finished.outcome, ToolOutcome::Cancelled, "{command}");
        assert_eq!(processes_with(&mark), Vec::<String>::new(), "{command}");
        assert!(started.elapsed().as_secs() < 5, "{command}");
    }
    assert!(names(world.folder()).is_empty(), "{:?}", names(world.folder()));
}

#[tokio::test]
async fn nothing_goes_on_after_the_end_of_a_command() {
    let world = World::new().await;
    let mark = format!("87654.{}", std::process::id());
    let command =
        format!("setsid -f sleep {mark} >/dev/null 2>&1; (sleep {mark} &) >/dev/null 2>&1; echo done");
    let finished = world.call("shell", json!({"command": command})).await;
    assert_eq!((finished.outcome, told(&finished)), (ToolOutcome::Ok, "done\n".into()));
    assert_eq!(processes_with(&mark), Vec::<String>::new());
}

#[tokio::test]
async fn a_command_ends_at_its_deadline() {
    let world = World::new().await;
    for command in ["sleep 600", "while :; do :; done", "trap '' TERM; exec >/dev/null 2>&1; sleep 600"] {
        let finished = world.call("shell", json!({"command": command, "timeout_secs": 1})).await;
        assert_eq!(fact(&finished, "stopped"), "timeout", "{command}");
        assert_eq!(finished.outcome, ToolOutcome::Error);
    }
}

#[tokio::test]
async fn a_fork_bomb_is_bounded_and_the_gateway_answers_meanwhile() {
    let world = World::set(PolicyPreset::Full, |set| set.shell.limits.processes = 64).await;
    let bomb = "import os,time\nprint('re' + 'ady', flush=True)\nmost=0\nend=time.time()+3\nwhile time.time()<end:\n  try:\n    if \
                os.fork()==0: time.sleep(60)\n    most+=1\n  except OSError: time.sleep(0.05)\nprint('forked', most < 64)";
    let bombed = Running::start(&world, json!({"argv": ["/usr/bin/python3", "-c", bomb]})).await;
    for _ in 0..10 {
        let finished = world.call("todo", json!({"steps": []})).await;
        assert_eq!(finished.outcome, ToolOutcome::Ok);
    }
    let bombed = bombed.finished().await;
    assert!(told(&bombed).contains("forked True"), "{bombed:?}");
    let endless =
        world.call("shell", json!({"command": "f() { f | f & }; f; wait; sleep 5", "timeout_secs": 2})).await;
    assert_ne!(endless.outcome, ToolOutcome::Unknown, "{endless:?}");
}

#[tokio::test]
async fn memory_files_and_open_files_are_bounded() {
    let world = World::set(PolicyPreset::Full, |set| {
        set.shell.limits.memory = 128 * 1024 * 1024;
        set.shell.limits.file_bytes = 1024 * 1024;
        set.shell.limits.open_files = 32;
    })
    .await;
    let greedy = "a = [bytearray(1 << 20) for _ in range(1024)]; print('ESCAPED', len(a))";
    let finished = world.call("shell", json!({"argv": ["/usr/bin/python3", "-c", greedy]})).await;
    assert!(finished.outcome == ToolOutcome::Error && !told(&finished).contains("ESCAPED"), "{finished:?}");
    world.call("shell", json!({"command": "head -c 10000000 /dev/zero > large"})).await;
    assert!(fs::metadata(world.folder().join("large")).unwrap().len() <= 1024 * 1024);
    let open = "a = [open('/dev/null') for _ in range(100)]; print('ESCAPED')";
    let finished = world.call("shell", json!({"argv": ["/usr/bin/python3", "-c", open]})).await;
    assert!(told(&finished).contains("Too many open files"), "{finished:?}");
    let shared = world.call("shell", json!({"command": "head -c 900000000 /dev/zero > /dev/shm/x"})).await;
    assert_eq!(shared.outcome, ToolOutcome::Error, "{shared:?}");
}

#[tokio::test]
async fn a_full_disk_ends_the_command_before_the_gateway_cannot_write() {
    let world = World::set(PolicyPreset::Full, |set| {
        let disk = rustix::fs::statvfs(std::env::temp_dir()).unwrap();
        set.shell.limits.disk_free = (disk.f_bavail * disk.f_frsize).saturating_sub(64 * 1024 * 1024);
    })
    .await;
    let fill = "exec >/dev/null 2>&1; i=0; while [ $i -lt 400 ]; do head -c 4000000 /dev/zero > f$i; i=$((i+1)); done; echo ESCAPED";
    let finished = world.call("shell", json!({"command": fill, "timeout_secs": 60})).await;
    assert_eq!(fact(&finished, "stopped"), "disk", "{finished:?}");
}

#[tokio::test]
async fn endless_output_is_cut_and_its_writer_ended() {
    let world = World::new().await;
    let finished = world.call("shell", json!({"command": "echo first; yes; echo never"})).await;
    let told = told(&finished);
    assert_eq!(fact(&finished, "stopped"), "output");
    assert!(told.starts_with("first\n") && told.contains("[left out: ") && told.len() <= 64 * 1024);
    let finished = world.call("shell", json!({"command": "seq 1 100000"})).await;
    assert_eq!((fact(&finished, "truncated"), fact(&finished, "exit_code")), (&json!(true), &json!(0)));
    assert!(crate::told(&finished).trim_end().ends_with("100000"), "the end is kept");
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_taken_out_of_the_output() {
    let world = World::new().await;
    let finished = world
        .call("shell", json!({"command": "printf '\\033[31mred\\033[0m\\033]0;t\\007 50%%\\r100%%\\n\\377'"}))
        .await;
    assert_eq!(Part::join_text(&finished.content), "red 50%\n100%\n\u{fffd}");
}

#[tokio::test]
async fn without_a_sandbox_it_says_so_and_is_still_ended() {
    let world = World::set(PolicyPreset::Full, |set| set.shell.choice = SandboxChoice::None).await;
    let finished = world.call("shell", json!({"command": "pwd"})).await;
    assert_eq!(told(&finished), format!("{}\n", world.folder().display()));
    assert_eq!(fact(&finished, "sandbox"), "none", "whoever reads the log sees it");
    let mark = format!("76543.{}", std::process::id());
    let finished = cancelled(&world, &format!("sleep {mark} & echo re\"\"ady; sleep {mark}")).await;
    assert_eq!(finished.outcome, ToolOutcome::Cancelled);
    // Nothing waits for the processes of a group; they are killed, and gone in a moment.
    while !processes_with(&mark).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn switched_off_there_is_no_such_tool() {
    let settings = Settings {
        workspace: WorkspaceSettings::Shared(".".into()),
        shell: ShellSettings { enabled: false, ..ShellSettings::default() },
        web: WebSettings::default(),
    };
    assert!(built_in(&settings).iter().all(|tool| tool.spec().name.as_str() != "shell"));
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_set_up_says_why() {
    let world = World::set(PolicyPreset::Full, |settings| {
        settings.shell.readable = vec!["/no/such/folder".into()];
    })
    .await;
    let told = world.refused("shell", json!({"argv": ["/usr/bin/true"]})).await;
    assert!(told.contains("/no/such/folder"), "{told}");
}
