//! One connection to a server, from its first word to its end.

use std::{sync::Arc, time::Duration};

use moongate_core::limits::TOOL_CALLS_PER_MESSAGE;
use rmcp::{
    ClientServiceExt as _, Peer, RoleClient, ServiceError,
    model::{
        CallToolRequest, CallToolRequestParams, ClientRequest, JsonObject, ListToolsRequest,
        PaginatedRequestParams, ProtocolVersion, ServerResult, Tool,
    },
    service::{ClientLifecycleMode, PeerRequestOptions, RequestHandle, RunningService},
    transport::{
        async_rw::AsyncRwTransport,
        common::client_side_sse::ExponentialBackoff,
        streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::ChildStderr,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    definition::Definition,
    ear::{Ear, Progress},
    http::{ANSWER_BYTES, Http},
    process::{self, Process},
    server::Server,
    settings::{Link as Way, Program},
};

/// Tools of one server: each is read at the start, and kept.
const TOOLS: usize = 4096;
/// Pages of a list of tools: a server that has always one more is not asked for ever.
const PAGES: usize = 256;
/// How often a server that does not say when its tools change is asked.
const LIST_AGAIN: Duration = Duration::from_secs(300);
/// How often a server that says so all the time is asked.
const LIST_AT_MOST: Duration = Duration::from_secs(1);
/// How often it is looked whether an operator accepted a changed tool.
const LOOK_AT_PINS: Duration = Duration::from_secs(3);
/// How long a server that did not answer a call may take to show that it is alive.
const PROBE: Duration = Duration::from_secs(10);
/// How long telling a server that a call was given up may take.
const TELL: Duration = Duration::from_secs(5);
/// Times a stream that broke off is taken up again, where the server lets it be.
const STREAM_RETRIES: usize = 3;
/// Bytes of a line of a program's error output that are logged.
const ERROR_LINE_BYTES: u64 = 1024;

/// What calls go through.
#[derive(Debug)]
pub(super) struct Line {
    peer: Peer<RoleClient>,
    progress: Progress,
    given_up: mpsc::Sender<RequestHandle<RoleClient>>,
}

/// A call that is under way. One that is dropped before its answer is given up, and the server told.
struct Call {
    handle: Option<RequestHandle<RoleClient>>,
    given_up: mpsc::Sender<RequestHandle<RoleClient>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take()
            && self.given_up.try_send(handle).is_err()
        {
            tracing::debug!("an MCP server was not told that a call was given up");
        }
    }
}

impl Line {
    /// Makes a call, and waits for its answer as long as the caller does.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: JsonObject,
        output: mpsc::Sender<String>,
    ) -> Result<ServerResult, ServiceError> {
        let request = CallToolRequest::new(CallToolRequestParams::new(tool).with_arguments(arguments));
        let request = ClientRequest::CallToolRequest(request);
        let options = PeerRequestOptions::no_options();
        let handle = self.peer.send_request_with_option(request, options).await?;
        let _shown = self.progress.show(handle.progress_token.clone(), output);
        let mut call = Call { handle: Some(handle), given_up: self.given_up.clone() };
        let Some(handle) = call.handle.as_mut() else { return Err(ServiceError::TransportClosed) };
        let answer = (&mut handle.rx).await;
        call.handle = None;
        answer.unwrap_or(Err(ServiceError::TransportClosed))
    }
}

/// A connection that is open.
pub(super) struct Link {
    line: Arc<Line>,
    running: RunningService<RoleClient, Ear>,
    ear: Ear,
    given_up: mpsc::Receiver<RequestHandle<RoleClient>>,
    /// What was started for it, where something was.
    _process: Option<(Process, JoinSet<()>)>,
}

impl Link {
    /// Opens a connection, and finds out what tools there are. Bounded by the server's settings.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    pub(super) async fn open(server: &Arc<Server>, greeting: Greeting) -> Result<Self, String> {
        let limit = server.settings.start;
        let opened = timeout(limit, Self::begin(server, greeting)).await;
        opened.unwrap_or_else(|_| Err(format!("it did not start within {} seconds", limit.as_secs())))
    }

    async fn begin(server: &Arc<Server>, greeting: Greeting) -> Result<Self, String> {
        let ear = Ear::default();
        let (running, process) = match &server.settings.link {
            Way::Stdio(program) => {
                let (running, process) = spoken_to(server, program, (ear.clone(), greeting)).await?;
                (running, Some(process))
            }
            Way::Http(address) => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(address.uri.to_string());
                config.max_sse_event_size = ANSWER_BYTES;
                let mut retry = ExponentialBackoff::default();
                retry.max_times = Some(STREAM_RETRIES);
                config.retry_config = Arc::new(retry);
                let transport = StreamableHttpClientTransport::with_client(Http::new(address), config);
                let running = ear.clone().serve_with_lifecycle(transport, greeting.lifecycle()).await;
                (running.map_err(|fault| fault.to_string())?, None)
            }
        };
        let (give_up, given_up) = mpsc::channel(TOOL_CALLS_PER_MESSAGE);
        let (peer, progress) = (running.peer().clone(), ear.progress.clone());
        let line = Arc::new(Line { peer, progress, given_up: give_up });
        let link = Self { line, running, ear, given_up, _process: process };
        let tools = link.list(server).await?;
        server.up(&link.line, tools);
        Ok(link)
    }

    /// Serves calls until the connection ends; says why it did.
    pub(super) async fn serve(self, server: &Arc<Server>) -> String {
        let Self { line, running, ear, mut given_up, _process } = self;
        let (mut list_at, mut listed) = (Instant::now() + LIST_AGAIN, Instant::now());
        let closed = running.waiting();
        tokio::pin!(closed);
        loop {
            let look = sleep(LOOK_AT_PINS);
            let list = tokio::select! {
                _ = &mut closed => return "it ended the connection".into(),
                Some(handle) = given_up.recv() => {
                    let told = handle.cancel(Some("nobody waits for the answer any more".into()));
                    if timeout(TELL, told).await.is_err() {
                        return "it takes nothing any more".into();
                    }
                    false
                }
                () = server.doubted.notified() => {
                    let patience = server.settings.call.min(PROBE);
                    match timeout(patience, list(&line.peer, None)).await {
                        Ok(Ok(_)) => false,
                        _ => return "it did not answer a call, and does not answer at all".into(),
                    }
                }
                () = ear.changed.notified() => true,
                () = sleep_until(list_at) => true,
                () = look, if server.has_changed_tools() => true,
            };
            if !list {
                continue;
            }
            sleep_until(listed + LIST_AT_MOST).await;
            match timeout(server.settings.start, tools(&line.peer, server)).await {
                Ok(Ok(tools)) => server.put_tools(tools),
                Ok(Err(why)) => return why,
                Err(_) => return "it does not say which tools it has".into(),
            }
            listed = Instant::now();
            list_at = listed + LIST_AGAIN;
        }
    }

    async fn list(&self, server: &Arc<Server>) -> Result<Vec<(Definition, bool)>, String> {
        tools(&self.line.peer, server).await
    }
}

/// How a server is greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The newest revision where the server has it, else the one with a handshake.
    AnyEra,
    /// With a handshake at once, for a server that chokes on being asked for anything newer.
    Handshake,
}

impl Greeting {
    /// The one to try when this one failed.
    pub(super) fn other(self) -> Self {
        match self {
            Self::AnyEra => Self::Handshake,
            Self::Handshake => Self::AnyEra,
        }
    }

    fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::AnyEra => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::V_2025_11_25),
            },
            Self::Handshake => ClientLifecycleMode::Initialize,
        }
    }
}

/// Starts a program and greets it.
async fn spoken_to(
    server: &Arc<Server>,
    program: &Program,
    (ear, greeting): (Ear, Greeting),
) -> Result<(RunningService<RoleClient, Ear>, (Process, JoinSet<()>)), String> {
    let started = process::start(program);
    let (process, streams) = started.map_err(|error| format!("its program cannot be started: {error}"))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(log(server.settings.name.clone(), streams.errors));
    let transport =
        AsyncRwTransport::new_client(streams.output, streams.input).with_max_line_length(ANSWER_BYTES);
    let running = ear.serve_with_lifecycle(transport, greeting.lifecycle()).await;
    Ok((running.map_err(|fault| fault.to_string())?, (process, tasks)))
}

/// Reads what a program complains about, so that it never waits for a reader.
async fn log(server: String, errors: ChildStderr) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut errors).take(ERROR_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let said = String::from_utf8_lossy(&line);
                tracing::debug!(
                    mcp.server = server,
                    said = said.trim_end(),
                    "an MCP server wrote to its error output"
                );
            }
        }
    }
}

/// One page of a server's tools, past every cache.
async fn list(
    peer: &Peer<RoleClient>,
    cursor: Option<String>,
) -> Result<(Vec<Tool>, Option<String>), String> {
    let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
    let request = ListToolsRequest { params, ..ListToolsRequest::default() };
    match peer.send_request(ClientRequest::ListToolsRequest(request)).await {
        Ok(ServerResult::ListToolsResult(page)) => Ok((page.tools, page.next_cursor)),
        Ok(_) => Err("it does not say which tools it has".into()),
        Err(fault) => Err(format!("it does not say which tools it has: {fault}")),
    }
}

/// Every tool that can be one of ours, and whether its definition is the pinned one.
async fn tools(peer: &Peer<RoleClient>, server: &Arc<Server>) -> Result<Vec<(Definition, bool)>, String> {
    let name = &server.settings.name;
    let (mut found, mut cursor) = (Vec::<Definition>::new(), None);
    for _ in 0..PAGES {
        let (page, next) = list(peer, cursor).await?;
        for tool in page {
            let is_wanted = |only: &Vec<String>| only.iter().any(|wanted| *wanted == tool.name);
            if !server.settings.only.as_ref().is_none_or(is_wanted) {
                continue;
            }
            match Definition::read(&server.settings, &tool) {
                Err(why) => {
                    tracing::warn!(mcp.server = name, tool = %shown(&tool.name), %why, "a tool is left out");
                }
                Ok(same) if found.iter().any(|other| other.tool == same.tool) => {
                    tracing::warn!(
                        mcp.server = name,
                        tool = same.tool,
                        "a second tool of that name is left out"
                    );
                }
                Ok(definition) => found.push(definition),
            }
        }
        if found.len() > TOOLS {
            tracing::warn!(mcp.server = name, most = TOOLS, "the server has more tools than are taken over");
            found.truncate(TOOLS);
            break;
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let (pins, name) = (server.pins.clone(), name.clone());
    let judged = tokio::task::spawn_blocking(move || {
        let judged = pins.judge(&name, &found);
        judged.map(|judged| found.into_iter().zip(judged).collect())
    });
    match judged.await {
        Ok(Ok(tools)) => Ok(tools),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(_) => Err("its tools could not be compared with the pinned ones".into()),
    }
}

/// The beginning of a name that may be anything.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_default).collect()
}
