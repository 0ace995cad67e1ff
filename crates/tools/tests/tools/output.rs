//! What is too long for the model: kept whole, and read on.

use std::sync::Arc;

use moongate_core::{SessionHandle, Tool, ToolResult, limits::TOOL_OUTPUT_KEPT_BYTES};
use moongate_protocol::{BlobRef, Effect, Event, Part, ToolFinished, ToolOutcome};
use moongate_testkit::{Client, Script, ScriptedTool, Setup, TestGateway, says};
use moongate_tools::{Settings, WorkspaceSettings, built_in};
use serde_json::{Value, json};

use crate::told;

/// A session whose agent has the built-in tools and one that says a lot.
struct Talk {
    kit: TestGateway,
    session: SessionHandle,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Talk {
    async fn new(text: &str) -> Self {
        Self::with(ToolResult::ok(text)).await
    }

    async fn with(result: ToolResult) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { workspace: WorkspaceSettings::Shared(folder.path().to_owned()) };
        let flood: Arc<dyn Tool> = ScriptedTool::new("flood", Effect::Read).answers(result).boxed();
        let tools = built_in(&settings).into_iter().chain([flood]);
        let kit = Setup::default().tools(tools).start().await;
        let session = kit.session().await;
        let client = kit.client(session.id()).await;
        Self { kit, session, client, _folder: folder }
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> ToolFinished {
        call(&self.kit, &self.session, &mut self.client, tool, arguments).await
    }
}

async fn call(
    kit: &TestGateway,
    session: &SessionHandle,
    client: &mut Client,
    tool: &str,
    arguments: Value,
) -> ToolFinished {
    kit.model().push([Script::calls(&[(tool, arguments)])]);
    session.submit(says("go")).await.unwrap();
    let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    client.until_turn_ends().await;
    let Event::ToolFinished(finished) = finished.event else { unreachable!("it was asked for") };
    finished
}

/// The piece, and the offset where the next one begins.
fn piece(told: &str) -> (&str, Option<usize>) {
    match told.rsplit_once("\n[") {
        Some((text, rest)) if rest.contains("offset ") => {
            let offset = rest.rsplit_once("offset ").unwrap().1.trim_end_matches(']');
            (text, Some(offset.parse().unwrap()))
        }
        _ => (told, None),
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_result_is_kept_whole_and_read_on_to_its_end() {
    let text: String = (0..30_000).map(|line| format!("{line}: straße\n")).collect();
    let mut talk = Talk::new(&text).await;
    let cut = talk.call("flood", json!({})).await;
    assert!(cut.truncated);
    let output = cut.output.clone().unwrap();
    assert_eq!(output.bytes, text.len() as u64);
    let kept = talk.kit.disk().blob(output.hash).await.unwrap().unwrap();
    assert_eq!(&kept[..], text.as_bytes());
    let first = told(&cut);
    assert!(first.contains(&format!("read_output reads on with call \"{}\"", cut.call)), "it says how");
    let (shown, mut offset) = piece(&first);
    let mut whole = shown.to_owned();
    while let Some(at) = offset {
        let next = talk.call("read_output", json!({"call": cut.call, "offset": at})).await;
        assert_eq!(next.outcome, ToolOutcome::Ok);
        assert!(!next.truncated, "what is read on fits");
        let words = told(&next);
        let (shown, then) = piece(&words);
        whole.push_str(shown);
        offset = then;
    }
    assert!(whole == text, "the pieces are the whole");
    let after = talk.call("read_output", json!({"call": cut.call, "offset": text.len()})).await;
    assert_eq!(told(&after), format!("[the output that is kept ends at byte {}]", text.len()));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_flood_is_bounded() {
    let mut talk = Talk::new(&"é".repeat(TOOL_OUTPUT_KEPT_BYTES)).await;
    let cut = talk.call("flood", json!({})).await;
    assert_eq!(cut.output.unwrap().bytes, TOOL_OUTPUT_KEPT_BYTES as u64);
}

#[tokio::test(start_paused = true)]
async fn no_session_reads_what_another_ones_calls_said() {
    let mut talk = Talk::new(&"secret ".repeat(20_000)).await;
    let cut = talk.call("flood", json!({})).await;
    assert!(cut.output.is_some());
    let other = talk.kit.session().await;
    let mut client = talk.kit.client(other.id()).await;
    let read = json!({"call": cut.call});
    let refused = call(&talk.kit, &other, &mut client, "read_output", read).await;
    assert_eq!(refused.outcome, ToolOutcome::Error);
    assert!(!told(&refused).contains("secret"), "{}", told(&refused));
    // A result that fits is not kept twice.
    let short = talk.call("todo", json!({"steps": []})).await;
    assert_eq!(short.output, None);
    let read = talk.call("read_output", json!({"call": short.call})).await;
    assert_eq!(read.outcome, ToolOutcome::Error);
}

/// A hash alone opens nothing: a tool shows what it brings, not what somebody else kept.
#[tokio::test(start_paused = true)]
async fn a_result_names_no_bytes_it_did_not_bring() {
    let mut result = ToolResult::ok("look");
    let hash = moongate_core::blob_hash(b"another's");
    result.content.push(Part::Image { blob: BlobRef { hash, media_type: "image/png".into(), bytes: 9 } });
    let mut talk = Talk::with(result).await;
    talk.kit.disk().put_blob(bytes::Bytes::from_static(b"another's")).await.unwrap();
    let finished = talk.call("flood", json!({})).await;
    assert_eq!(finished.content.len(), 2);
    assert_eq!(finished.content[1], Part::text("[image/png, 9 bytes: it could not be kept]"));
}
