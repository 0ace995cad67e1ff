//! What the built-in tools do, called as a model calls them: by a scripted model, through the gateway.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod approval;
mod edit;
mod escape;
mod escapes;
mod image;
mod mcp;
mod output;
mod races;
mod read;
mod search;
mod shell;
mod todo;
mod web;
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use moongate_protocol::{Event, Part, PolicyPreset, ToolFinished, ToolOutcome};
use moongate_testkit::{Script, Setup, TestGateway, says};
use moongate_tools::{MachineNetwork, Network, Settings, WorkspaceSettings, built_in_on};
use serde_json::Value;
use tempfile::TempDir;

/// A gateway whose agent has every built-in tool, and the folder all its sessions work in.
struct World {
    kit: TestGateway,
    folder: TempDir,
    settings: Settings,
}

impl World {
    /// An agent that may do everything.
    async fn new() -> Self {
        Self::under(PolicyPreset::Full).await
    }

    /// An agent that may do what a preset lets it.
    async fn under(policy: PolicyPreset) -> Self {
        Self::set(policy, |_| {}).await
    }

    /// An agent whose tools are set in another way than usual.
    async fn set(policy: PolicyPreset, change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(policy, change, Arc::new(MachineNetwork)).await
    }

    /// An agent on another network than the machine's.
    async fn on(policy: PolicyPreset, change: impl FnOnce(&mut Settings), network: Arc<dyn Network>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(WorkspaceSettings::Shared(folder.path().to_owned()));
        change(&mut settings);
        if let Err(why) = settings.shell.sandbox() {
            panic!("these tests need a sandbox that works: {why}");
        }
        let tools = built_in_on(&settings, network);
        let kit = Setup { policy, ..Setup::default() }.tools(tools).start().await;
        Self { kit, folder, settings }
    }

    /// The folder all sessions work in.
    fn folder(&self) -> &Path {
        self.folder.path()
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
