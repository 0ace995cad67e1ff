//! A gateway in memory whose agent wishes to write to somebody whenever it is told whom: what the web page's approvals
//! are tried with (`cargo xtask e2e ui`). Usage: `asking_agent PORT KEY_FILE`; the administrator's key is written there.

use std::{env, error::Error, fs, net::Ipv4Addr, sync::Arc, time::Duration};

use moongate_core::{
    Agent, Catalog, Gateway, Ids, Limits, MemoryStore, Parts, PromptMessage, Spending, ToolPolicies,
    ToolResult, Toolbox,
};
use moongate_protocol::{Effect, Part, PolicyPreset, StopReason};
use moongate_server::{AppConfig, Server, ServerConfig};
use moongate_testkit::{AGENT, MODEL, Script, ScriptedModel, ScriptedModels, ScriptedTool};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: asking_agent PORT KEY_FILE";
    let port = env::args().nth(1).ok_or(usage)?.parse()?;
    let key_file = env::args().nth(2).ok_or(usage)?;
    let gateway = gateway()?;
    let (secret, app) = AppConfig::generate(gateway.ids());
    fs::write(key_file, secret.expose_secret())?;
    let listen = (Ipv4Addr::LOCALHOST, port).into();
    let server = Server::bind(ServerConfig { listen, tls: None, behind_proxy: false, app }, gateway).await?;
    server.run(CancellationToken::new(), Duration::ZERO).await;
    Ok(())
}

fn gateway() -> Result<Gateway, Box<dyn Error>> {
    let model = ScriptedModel::answering(MODEL.parse()?, |request, _| {
        match request.messages.last().map(|message| &***message) {
            Some(PromptMessage::ToolResult { is_error: false, .. }) => {
                Script::says("**Sent.** Anything else?")
            }
            Some(PromptMessage::ToolResult { .. }) => Script::says("I did not send it."),
            Some(PromptMessage::User(parts)) => {
                let to = Part::join_text(parts);
                let letter =
                    json!({"to": to, "subject": "The plan", "text": "Dear reader,\nhere is the plan."});
                Script::new()
                    .reasoning("A letter changes the world, so a person will be asked.", None)
                    .text("I write the letter and send it.")
                    .call("send_letter", &letter)
                    .usage(120, 40)
                    .finish(StopReason::ToolUse)
            }
            _ => Script::says("?"),
        }
    });
    let schema = json!({
        "type": "object",
        "properties": {"to": {"type": "string"}, "subject": {"type": "string"}, "text": {"type": "string"}},
        "required": ["to"],
    });
    let tool = ScriptedTool::new("send_letter", Effect::Effect)
        .takes(schema)
        .shows(&["looking for a stamp\n", "\u{1b}[32mfound one\u{1b}[0m\n"])
        .answers(ToolResult::ok("delivered to the letter box"));
    let mut agent = Agent::new(AGENT.parse()?, MODEL.parse()?);
    agent.tools = vec!["send_letter".parse()?];
    agent.policy = PolicyPreset::Ask;
    let catalog = Catalog {
        agents: [(agent.name.clone(), Arc::new(agent.clone()))].into(),
        default_agent: agent.name,
        models: Arc::new(ScriptedModels::new([model])),
        tools: Toolbox::new([tool.boxed()]),
        tool_policies: ToolPolicies::default(),
        policy_rules: Default::default(),
        spending: Spending::default(),
    };
    let store = Arc::new(MemoryStore::new());
    Ok(Gateway::new(Parts { store, catalog, ids: Ids::default(), limits: Limits::default() }))
}
