//! Tools of MCP servers, good and bad ones.

mod find;
mod http;
mod pins;
mod stdio;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moongate_core::{ServerState, Tool, ToolServer};
use moongate_protocol::{Event, PolicyPreset, ToolFinished};
use moongate_testkit::{Client, Script, Setup, TestGateway, says};
use moongate_tools::mcp::{Mcp, Pins, Program, ServerLink, ServerSettings};
use serde_json::Value;
use tempfile::TempDir;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/mcp/server.py");

/// A scripted server, and where it leaves what it saw.
struct Scripted {
    mcp: Mcp,
    folder: TempDir,
}

/// The scripted server's program, doing what it is asked.
fn program(folder: &Path, how: &[&str]) -> ServerLink {
    let path = std::env::var("PATH").unwrap_or_default();
    let place = folder.display().to_string();
    let args = [SERVER, &place].into_iter().chain(how.iter().copied());
    ServerLink::Stdio(Program {
        command: "/usr/bin/python3".into(),
        args: args.map(str::to_owned).collect(),
        env: vec![
            ("PATH".into(), path.into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TOKEN".into(), "abc".into()),
        ],
        folder: folder.to_owned(),
    })
}

fn settings(link: ServerLink) -> ServerSettings {
    ServerSettings {
        name: "it".into(),
        link,
        only: None,
        trust_annotations: false,
        start: Duration::from_secs(30),
        call: Duration::from_secs(30),
    }
}

impl Scripted {
    /// A server that is up.
    async fn up(how: &[&str]) -> Self {
        Self::with(how, |settings| settings).await
    }

    /// A server that is up, with other settings.
    async fn with(how: &[&str], change: impl FnOnce(ServerSettings) -> ServerSettings) -> Self {
        let scripted = Self::started(how, change);
        scripted.until(|server| server.state == ServerState::Up).await;
        scripted
    }

    /// A server that was only just started.
    fn started(how: &[&str], change: impl FnOnce(ServerSettings) -> ServerSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = change(settings(program(folder.path(), how)));
        let mcp = Mcp::start(vec![settings], &Pins::new(folder.path()));
        Self { mcp, folder }
    }

    /// Waits until the server is as it is wanted.
    async fn until(&self, is: impl Fn(&ToolServer) -> bool) -> ToolServer {
        let mut changes = self.mcp.changes();
        loop {
            let server = self.mcp.servers().remove(0);
            if is(&server) {
                return server;
            }
            changes.changed().await.unwrap();
        }
    }

    /// A gateway whose agent has the server's tools.
    async fn gateway(&self, policy: PolicyPreset) -> TestGateway {
        Setup { policy, ..Setup::default() }.tools(self.mcp.tools()).start().await
    }

    async fn call(&self, tool: &str, arguments: Value) -> ToolFinished {
        call(&self.gateway(PolicyPreset::Full).await, tool, arguments).await
    }

    fn tool(&self, name: &str) -> Arc<dyn Tool> {
        self.mcp.tools().into_iter().find(|tool| tool.spec().name.as_str() == name).unwrap()
    }

    /// A file the server leaves, once it is there.
    async fn saw(&self, name: &str) -> String {
        saw(self.folder.path().join(name)).await
    }
}

/// A file, once it is there. Another process writes it: there is nothing of ours to wait for.
async fn saw(path: PathBuf) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(&path) {
            return text;
        }
        tokio::task::yield_now().await;
    }
}

/// Begins a call of the agent's.
async fn begin(kit: &TestGateway, tool: &str, arguments: Value) -> (moongate_core::SessionHandle, Client) {
    let session = kit.session().await;
    let client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[(tool, arguments)])]);
    session.submit(says("go")).await.unwrap();
    (session, client)
}

/// How a call ended.
async fn end(client: &mut Client) -> ToolFinished {
    let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    client.until_turn_ends().await;
    let Event::ToolFinished(finished) = finished.event else { unreachable!("it was asked for") };
    finished
}

async fn call(kit: &TestGateway, tool: &str, arguments: Value) -> ToolFinished {
    let (_session, mut client) = begin(kit, tool, arguments).await;
    end(&mut client).await
}
