//! A provider that does exactly what a script says, byte by byte, and what a call to it came to.

pub(crate) mod tls;
pub(crate) mod wires;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use moongate_core::{Model, ModelRequest, ModelStream, Models, Piece, PromptMessage};
use moongate_protocol::{ErrorCode, Part, StopReason, Tokens};
use moongate_providers::{PriceTable, ProviderConfig, Registry, RetryPolicy, Timeouts, Wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// One thing a scripted provider does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends bytes as they are.
    Send(Vec<u8>),
    /// Sends bytes one at a time, each after a pause.
    Trickle(Vec<u8>, Duration),
    /// Sends this again and again until the caller goes away.
    Forever(Vec<u8>, Duration),
    /// Does nothing until the caller goes away.
    Stall,
    /// Ends the connection.
    Close,
    /// Breaks the connection.
    Reset,
}

/// A provider on a socket: each request gets the next script, the last one again and again.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The requests' heads, in lower case.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    /// How often a caller went away while the provider was stalling.
    pub(crate) departures: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            bodies: Arc::default(),
            heads: Arc::default(),
            departures: Arc::default(),
            _tasks: JoinSet::new(),
        };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let (bodies, departures) = (Arc::clone(&server.bodies), Arc::clone(&server.departures));
        let heads = Arc::clone(&server.heads);
        server._tasks.spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                connections.fetch_add(1, SeqCst);
                let (scripts, requests) = (scripts.clone(), Arc::clone(&requests));
                let (bodies, departures) = (Arc::clone(&bodies), Arc::clone(&departures));
                let heads = Arc::clone(&heads);
                tasks.spawn(async move {
                    let mut stream = stream;
                    while let Some((head, body)) = read_request(&mut stream).await {
                        heads.lock().unwrap().push(head);
                        bodies.lock().unwrap().push(body);
                        let at = requests.fetch_add(1, SeqCst).min(scripts.len() - 1);
                        for act in &scripts[at] {
                            if !perform(act, &mut stream, &departures).await {
                                return;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn config(&self, wire: Wire) -> ProviderConfig {
        let mut config =
            ProviderConfig::new("p", wire, format!("http://{}/v1", self.address).parse().unwrap());
        config.timeouts = quick();
        config.retry = eager();
        config
    }
}

/// Time limits a test can wait for.
pub(crate) fn quick() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(2),
        header: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        total: Duration::from_secs(20),
    }
}

/// Three attempts in quick succession.
pub(crate) fn eager() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        budget: Duration::from_secs(10),
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
    }
}

/// True while the connection is still there.
async fn perform(act: &Act, stream: &mut TcpStream, departures: &AtomicUsize) -> bool {
    match act {
        Act::Send(bytes) => stream.write_all(bytes).await.is_ok(),
        Act::Trickle(bytes, pause) => {
            for byte in bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    return false;
                }
                sleep(*pause).await;
            }
            true
        }
        Act::Forever(bytes, pause) => {
            while stream.write_all(bytes).await.is_ok() {
                sleep(*pause).await;
            }
            false
        }
        Act::Stall => {
            let gone = !matches!(stream.read(&mut [0; 1]).await, Ok(1..));
            departures.fetch_add(usize::from(gone), SeqCst);
            false
        }
        Act::Close => {
            stream.shutdown().await.ok();
            false
        }
        Act::Reset => {
            stream.set_zero_linger().unwrap();
            false
        }
    }
}

/// The next request's head and body; `None` when there is none.
async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head + length {
        match stream.read(&mut chunk).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
    Some((text, bytes.split_off(head)))
}

/// What a call came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) text: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) tools: Vec<String>,
    pub(crate) usage: Option<Tokens>,
    pub(crate) stop: Option<StopReason>,
    pub(crate) fault: Option<ErrorCode>,
    pub(crate) retry_after: Option<Duration>,
}

/// Calls a model to its end.
pub(crate) async fn call(model: &Arc<dyn Model>) -> Outcome {
    read(model.call(request().into())).await
}

pub(crate) fn request() -> ModelRequest {
    let message = PromptMessage::User(vec![Part::text("hello")]);
    ModelRequest { messages: Arc::new(vec![Arc::new(message.into())]), ..ModelRequest::default() }
}

pub(crate) async fn read(mut stream: Box<dyn ModelStream>) -> Outcome {
    let mut outcome = Outcome::default();
    while outcome.stop.is_none() && outcome.fault.is_none() {
        let mut pieces = Vec::new();
        timeout(Duration::from_secs(60), stream.next(&mut pieces)).await.expect("a call always ends");
        assert!(!pieces.is_empty(), "at least one piece");
        for piece in &pieces {
            assert!(outcome.stop.is_none() && outcome.fault.is_none(), "nothing follows an end");
            outcome.take(piece);
        }
        outcome.pieces.extend(pieces);
    }
    outcome
}

impl Outcome {
    fn take(&mut self, piece: &Piece) {
        match piece {
            Piece::Text(text) => self.text.push_str(text),
            Piece::ToolCallStart { slot, name } => {
                assert_eq!(*slot as usize, self.tools.len());
                self.tools.push(name.clone());
                self.arguments.push(String::new());
            }
            Piece::ToolCallArguments { slot, text } => self.arguments[*slot as usize].push_str(text),
            Piece::Usage(tokens) => self.usage = Some(*tokens),
            Piece::Finish(stop) => self.stop = Some(*stop),
            Piece::Fault(fault) => {
                self.fault = Some(fault.code);
                self.retry_after = fault.retry_after;
            }
            _ => {}
        }
    }
}

/// The model `p/m` of this provider.
pub(crate) fn model(config: ProviderConfig) -> Arc<dyn Model> {
    let registry = Registry::new([config], PriceTable::default()).unwrap();
    registry.get(&"p/m".parse().unwrap()).unwrap()
}
