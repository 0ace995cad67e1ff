//! What the built-in tools do, called as a model calls them: by a scripted model, through the gateway.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod escapes;
mod shell;
mod todo;
mod web;

use std::{path::Path, sync::Arc};

use moongate_protocol::{Event, Part, PolicyPreset, ToolFinished};
use moongate_testkit::{Script, Setup, TestGateway, says};
use moongate_tools::{
    MachineNetwork, Network, Settings, ShellSettings, WebSettings, WorkspaceSettings, built_in_on,
};
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
        let mut settings = Settings {
            workspace: WorkspaceSettings::Shared(folder.path().to_owned()),
            shell: ShellSettings::default(),
            web: WebSettings::default(),
        };
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

/// What the model is told, as one text.
fn told(finished: &ToolFinished) -> String {
    Part::join_text(&finished.content)
}
