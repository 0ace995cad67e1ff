//! `todo`.

use moongate_protocol::ToolOutcome;
use serde_json::json;

use crate::{World, told};

#[tokio::test(start_paused = true)]
async fn a_list_is_shown_with_the_state_of_each_step() {
    let world = World::new().await;
    let steps = json!([
        {"text": "Read the code", "state": "done"},
        {"text": "Write the test", "state": "doing"},
        {"text": "Mend it", "state": "open"},
        {"text": "Ask Bob", "state": "dropped"},
    ]);
    let finished = world.call("todo", json!({"steps": steps})).await;
    assert_eq!(finished.outcome, ToolOutcome::Ok);
    assert_eq!(told(&finished), "[x] Read the code\n[>] Write the test\n[ ] Mend it\n[-] Ask Bob\n");
    assert_eq!(finished.data, Some(json!({"steps": steps})));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_an_error_the_model_sees() {
    let world = World::new().await;
    for arguments in [
        json!({}),
        json!({"steps": [{"text": "x"}]}),
        json!({"steps": [{"text": "x", "state": "perhaps"}]}),
        json!({"steps": [{"text": "", "state": "open"}]}),
        json!({"steps": [], "more": 1}),
    ] {
        let finished = world.call("todo", arguments.clone()).await;
        assert_eq!(finished.outcome, ToolOutcome::Error, "{arguments}");
    }
}
