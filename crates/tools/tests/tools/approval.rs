//! A person's yes to a change of a file is for the file as they saw it.

use std::time::Duration;

use moongate_core::SessionHandle;
use moongate_protocol::{
    ApprovalRequested, Decision, Event, Ground, PolicyPreset, Resolve, ToolCalled, ToolFinished, ToolOutcome,
};
use moongate_testkit::{Client, Script, says};
use serde_json::{Value, json};

use crate::{World, told};

struct Asking {
    world: World,
    session: SessionHandle,
    client: Client,
}

impl Asking {
    async fn new() -> Self {
        let world = World::under(PolicyPreset::Ask).await;
        let session = world.kit.session().await;
        let client = world.kit.client(session.id()).await;
        Self { world, session, client }
    }

    async fn asked(&mut self, tool: &str, arguments: Value) -> ApprovalRequested {
        self.world.kit.model().push([Script::calls(&[(tool, arguments)])]);
        self.session.submit(says("go")).await.unwrap();
        let asked = self.client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
        while self.world.kit.gateway().running_turns() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let Event::ApprovalRequested(request) = asked.event else { unreachable!("it was looked for") };
        request
    }

    async fn approve(&mut self, request: &ApprovalRequested, arguments: Option<Value>) -> ToolFinished {
        let resolve = Resolve {
            approval: request.approval,
            decision: Decision::Approve,
            arguments,
            reason: None,
            remember: None,
        };
        self.session.resolve(resolve).await.unwrap();
        let finished = self.client.until(|event| matches!(event, Event::ToolFinished(_))).await;
        self.client.until_turn_ends().await;
        let Event::ToolFinished(finished) = finished.event else { unreachable!("it was looked for") };
        finished
    }
}

fn edit() -> Value {
    json!({"path": "a.txt", "old": "two", "new": "2"})
}

#[tokio::test(start_paused = true)]
async fn a_person_sees_the_change_and_their_yes_makes_it() {
    let mut asking = Asking::new().await;
    asking.world.put("a.txt", "one\ntwo\u{202e}\n");
    let request = asking.asked("edit_file", edit()).await;
    let preview = request.preview.clone().unwrap();
    assert!(preview.ends_with("@@ -1,2 +1,2 @@\n one\n-two\\u{202e}\n+2\\u{202e}\n"), "{preview}");
    assert_eq!(asking.world.text("a.txt"), "one\ntwo\u{202e}\n", "nothing is changed before");
    asking
        .session
        .resolve(Resolve {
            approval: request.approval,
            decision: Decision::Approve,
            arguments: None,
            reason: None,
            remember: None,
        })
        .await
        .unwrap();
    let called = asking.client.until(|event| matches!(event, Event::ToolCalled(_))).await;
    asking.client.until_turn_ends().await;
    let Event::ToolCalled(ToolCalled { hash, ground, .. }) = called.event else {
        unreachable!("it was looked for")
    };
    assert_eq!(hash, request.hash, "what runs is what was approved");
    assert_eq!(ground, Ground::Approval { approval: request.approval });
    assert_eq!(asking.world.text("a.txt"), "one\n2\u{202e}\n");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_since_it_was_shown_is_not_changed_by_the_approval() {
    let mut asking = Asking::new().await;
    // The edit would still fit: only the file's hash tells.
    asking.world.put("a.txt", "one\ntwo\n");
    let request = asking.asked("edit_file", edit()).await;
    asking.world.put("a.txt", "one\ntwo\nthree\n");
    let finished = asking.approve(&request, None).await;
    assert_eq!(finished.outcome, ToolOutcome::Denied, "{}", told(&finished));
    assert!(told(&finished).contains("changed since"), "{}", told(&finished));
    assert_eq!(asking.world.text("a.txt"), "one\ntwo\nthree\n");
    // A file that was not there, too.
    let request = asking.asked("write_file", json!({"path": "new.txt", "content": "x\n"})).await;
    assert!(request.preview.as_ref().unwrap().starts_with("--- /dev/null\n+++ b/new.txt\n"));
    asking.world.put("new.txt", "a person's\n");
    let finished = asking.approve(&request, None).await;
    assert_eq!(finished.outcome, ToolOutcome::Denied, "{}", told(&finished));
    assert_eq!(asking.world.text("new.txt"), "a person's\n");
}

#[tokio::test(start_paused = true)]
async fn arguments_a_person_wrote_run_as_they_wrote_them() {
    let mut asking = Asking::new().await;
    asking.world.put("a.txt", "one\ntwo\n");
    let request = asking.asked("edit_file", edit()).await;
    let changed = json!({"path": "a.txt", "old": "one", "new": "1"});
    let finished = asking.approve(&request, Some(changed)).await;
    assert_eq!(finished.outcome, ToolOutcome::Ok, "{}", told(&finished));
    assert_eq!(asking.world.text("a.txt"), "1\ntwo\n");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_what_cannot_be_done() {
    let asking = Asking::new().await;
    asking.world.put("a.txt", "one\n");
    for arguments in [
        edit(),
        json!({"path": "../a.txt", "old": "a", "new": "b"}),
        json!({"path": ".envrc", "patch": "@@ -0,0 +1 @@\n+x\n"}),
    ] {
        let finished = asking.world.call("edit_file", arguments.clone()).await;
        assert!(matches!(finished.outcome, ToolOutcome::Error | ToolOutcome::Denied), "{arguments}");
        assert!(told(&finished).starts_with("Not done: "), "{}", told(&finished));
    }
}
