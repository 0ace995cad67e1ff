//! What the built-in tools do, called as a model calls them: by a scripted model, through the gateway.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod approval;
mod edit;
mod escape;
mod image;
mod output;
mod races;
mod read;
mod search;
mod todo;
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
};

use moongate_protocol::{Event, Part, PolicyPreset, ToolFinished, ToolOutcome};
use moongate_testkit::{Script, Setup, TestGateway, says};
use moongate_tools::{Settings, WorkspaceSettings, built_in};
use serde_json::Value;
use tempfile::TempDir;

/// A gateway whose agent has every built-in tool, and the folder all its sessions work in.
struct World {
    kit: TestGateway,
    folder: TempDir,
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
        Self { kit, folder }
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

impl World {
    /// Where something of the workspace is.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the workspace.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.path(name), content);
    }

    /// What a file of the workspace holds.
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What the model is told of a call that succeeds.
    async fn told(&self, tool: &str, arguments: Value) -> String {
        let finished = self.call(tool, arguments.clone()).await;
        assert_eq!(finished.outcome, ToolOutcome::Ok, "{tool} {arguments}: {}", told(&finished));
        told(&finished)
    }

    /// What the model is told of a call that fails.
    async fn refused(&self, tool: &str, arguments: Value) -> String {
        let finished = self.call(tool, arguments.clone()).await;
        assert_ne!(finished.outcome, ToolOutcome::Ok, "{tool} {arguments}: {}", told(&finished));
        told(&finished)
    }
}

/// Writes a file, and makes the folders on the way.
fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What the model is told, as one text.
fn told(finished: &ToolFinished) -> String {
    Part::join_text(&finished.content)
}
