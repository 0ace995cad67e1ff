//! A model provider over real HTTP that does what a test says: the three wires, with delays, cuts at any byte,
//! statuses and rubbish.

mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub use wire::{Dialect, Said};

/// What the provider does with one request. A request nobody scripted is answered with `ok`.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    says: Vec<Said>,
    /// In place of what it says.
    raw: Option<Vec<u8>>,
    /// Bytes of the body after which the connection breaks.
    cut_at: Option<usize>,
    /// Bytes written at once, and the pause after each such piece.
    pace: Option<(usize, Duration)>,
}

impl Answer {
    /// Says these things and ends well.
    pub fn new(says: impl IntoIterator<Item = Said>) -> Self {
        let says = says.into_iter().collect();
        Self { status: 200, headers: Vec::new(), says, raw: None, cut_at: None, pace: None }
    }

    /// Says a text.
    pub fn text(text: &str) -> Self {
        Self::new([Said::Text(text.into())])
    }

    /// Answers with a status and a body that is no stream.
    pub fn status(status: u16, body: &str) -> Self {
        Self { status, raw: Some(body.into()), ..Self::new([]) }
    }

    /// Sends any bytes as the stream's body.
    pub fn raw(body: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(body.into()), ..Self::new([]) }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.cut_at = Some(bytes);
        self
    }

    /// Writes so many bytes at once and pauses after each piece.
    #[must_use]
    pub fn paced(mut self, bytes: usize, pause: Duration) -> Self {
        self.pace = Some((bytes.max(1), pause));
        self
    }

    /// The body as one wire has it.
    pub fn body(&self, dialect: Dialect) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| wire::stream(dialect, &self.says).into_bytes())
    }
}

/// A request the provider got.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its wire, by its path; `None` when the path is no wire's.
    pub dialect: Option<Dialect>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body; null when that is not JSON.
    pub body: Value,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
}

/// A provider on a port of its own; it goes away with this value.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

impl Upstream {
    /// Starts a provider.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let state = Arc::<Mutex<State>>::default();
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, _serving: serving }
    }

    /// The base URL of every wire.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds answers for the next requests.
    pub fn push(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state).answers.extend(answers);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that goes away is no fault of the provider's.
            let _gone = serve(socket, &state).await;
        });
    }
}

/// Answers requests on one connection until it ends or a script breaks it.
async fn serve(socket: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read(&mut socket).await? {
        let dialect = request.dialect;
        let answer = {
            let mut state = lock(state);
            state.requests.push(request);
            state.answers.pop_front().unwrap_or_else(|| Answer::text("ok"))
        };
        if !write(socket.get_mut(), &answer, dialect).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let dialect = line.split(' ').nth(1).and_then(Dialect::of_path);
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        socket.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).await?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some(Request { dialect, headers, body }))
}

/// Whether the connection may carry another request.
async fn write(socket: &mut TcpStream, answer: &Answer, dialect: Option<Dialect>) -> io::Result<bool> {
    socket.set_nodelay(true)?;
    let body = dialect.map_or_else(Vec::new, |dialect| answer.body(dialect));
    let media_type = if answer.status == 200 { "text/event-stream" } else { "application/json" };
    let mut head = format!("HTTP/1.1 {} Scripted\r\ncontent-type: {media_type}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("transfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let sent = &body[..answer.cut_at.unwrap_or(body.len()).min(body.len())];
    let (piece, pause) = answer.pace.unwrap_or((usize::MAX, Duration::ZERO));
    for piece in sent.chunks(piece) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        socket.write_all(&chunk).await?;
        tokio::time::sleep(pause).await;
    }
    if answer.cut_at.is_some() {
        return Ok(false);
    }
    socket.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}
