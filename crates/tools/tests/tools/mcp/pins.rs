//! A definition that changed runs when an operator accepted it.

use std::os::unix::fs::PermissionsExt as _;

use moongate_core::ServerState;
use moongate_protocol::ToolOutcome;
use moongate_tools::mcp::{Mcp, Pins};
use serde_json::json;

use super::{Scripted, program, settings};
use crate::told;

#[tokio::test]
async fn a_tool_whose_definition_changed_is_off_until_an_operator_accepts_it() {
    let server = Scripted::up(&[]).await;
    let pins = Pins::new(server.folder.path());
    let file = std::fs::metadata(server.folder.path().join("mcp-pins.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(server.call("it__change", json!({})).await.outcome, ToolOutcome::Ok);
    let status = server.until(|server| !server.changed.is_empty()).await;
    assert_eq!(status.changed, ["it__echo".parse().unwrap()]);
    let shown = server.tool("it__echo").spec().clone();
    assert!(!format!("{shown:?}").contains("IGNORE"), "{shown:?}");
    let refused = server.call("it__echo", json!({"text": "x"})).await;
    assert_eq!(refused.outcome, ToolOutcome::Error);
    let words = "This tool's definition changed; an operator must accept it: moongate mcp accept it";
    assert_eq!(told(&refused), words);
    let changed = pins.changed("it").unwrap();
    assert_eq!((changed.len(), changed[0].tool.as_str()), (1, "echo"));
    assert!(changed[0].description.contains("IGNORE"));
    assert_eq!(pins.accept("it", Some("other")).unwrap(), Vec::<String>::new());
    assert_eq!(pins.accept("it", None).unwrap(), ["echo"]);
    server.until(|server| server.changed.is_empty()).await;
    let echo = server.call("it__echo", json!({"text": "x"})).await;
    assert_eq!((echo.outcome, told(&echo)), (ToolOutcome::Ok, "x".into()));
}

#[tokio::test]
async fn a_definition_that_changed_while_nobody_looked_is_off_too() {
    let server = Scripted::up(&[]).await;
    std::fs::write(server.folder.path().join("changed"), "").unwrap();
    let Scripted { mcp, folder } = server;
    drop(mcp);
    let mcp = Mcp::start(vec![settings(program(folder.path(), &[]))], &Pins::new(folder.path()));
    let server = Scripted { mcp, folder };
    let status = server.until(|server| server.state == ServerState::Up).await;
    assert_eq!(status.changed, ["it__echo".parse().unwrap()]);
}

#[tokio::test]
async fn without_readable_pins_no_tool_of_a_server_is_there() {
    let server = Scripted::started(&[], |settings| settings);
    std::fs::write(server.folder.path().join("mcp-pins.json"), "no JSON").unwrap();
    let status = server.until(|server| matches!(server.state, ServerState::Down(_))).await;
    let ServerState::Down(why) = status.state else { unreachable!() };
    assert!(why.starts_with("mcp-pins.json is damaged"), "{why}");
    assert!(server.mcp.tools().is_empty());
}
