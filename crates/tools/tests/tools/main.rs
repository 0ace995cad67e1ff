//! What the built-in tools do, called as a model calls them: by a scripted model, through the gateway.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod mcp;
mod todo;

use moongate_protocol::{Event, Part, PolicyPreset, ToolFinished};
use moongate_testkit::{Script, Setup, TestGateway, says};
use moongate_tools::{Settings, WorkspaceSettings, built_in};
use serde_json::Value;
use tempfile::TempDir;

/// A gateway whose agent has every built-in tool, and the folder all its sessions work in.
struct World {
    kit: TestGateway,
    _folder: TempDir,
}

impl World {
    /// An agent that may do everything.
    async fn new() -> Self {
        Self::under(PolicyPreset::Full).await
    }

    /// An agent that may do what a preset lets it.
    async fn under(policy: PolicyPreset) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { workspace: WorkspaceSettings::Shared(folder.path().to_owned()) };
        let tools = built_in(&settings);
        let kit = Setup { policy, ..Setup::default() }.tools(tools).start().await;
        Self { kit, _folder: folder }
    }

    /// What became of one call.
    async fn call(&self, tool: &str, arguments: Value) -> ToolFinished {
        let session = self.kit.session().await;
        let mut client = self.kit.client(session.id()).await;
        self.kit.model().push([Script::calls(&[(tool, arguments)])]);
        session.submit(says("go")).await.unwrap();
        let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
        client.until_turn_ends().await;
        let Event::ToolFinished(finished) = finished.event else { unreachable!("it was asked for") };
        finished
    }
}

/// What the model is told, as one text.
fn told(finished: &ToolFinished) -> String {
    Part::join_text(&finished.content)
}
