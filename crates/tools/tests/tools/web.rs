//! `web_fetch`, on a network the test owns: what is not connected to was not reached.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use moongate_core::Reach;
use moongate_protocol::{Event, PolicyPreset, ToolFinished, ToolOutcome};
use moongate_testkit::{Script, says};
use moongate_tools::{Network, Stream, WebSettings};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpListener,
    task::JoinSet,
};

use crate::{World, told};

/// The only name that is on the public internet, and its address.
const PUBLIC: &str = "public.example";
const ADDRESS: &str = "93.184.215.14";

/// What a server sends.
enum Reply {
    /// These bytes, then it closes.
    Bytes(Vec<u8>),
    /// A head, then the same piece for ever.
    Endless(String),
    /// A head, then a byte every ten seconds.
    Drip(String),
}

type Serve = Box<dyn Fn(&str) -> Reply + Send + Sync>;

/// A network of one server at all addresses.
struct Net {
    /// What the public name resolves to; the last answer stays.
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    resolved: AtomicUsize,
    connects: Mutex<Vec<SocketAddr>>,
    requests: Mutex<Vec<String>>,
    serve: Serve,
    servers: Mutex<JoinSet<()>>,
    written: Arc<AtomicUsize>,
}

impl Net {
    fn new(serve: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(VecDeque::from([vec![ADDRESS.parse().unwrap()]])),
            resolved: AtomicUsize::new(0),
            connects: Mutex::default(),
            requests: Mutex::default(),
            serve: Box::new(serve),
            servers: Mutex::default(),
            written: Arc::default(),
        })
    }

    fn connects(&self) -> Vec<String> {
        self.connects.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

/// The network as the tool is handed it.
struct Handed(Arc<Net>);

#[async_trait]
impl Network for Handed {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.0.resolved.fetch_add(1, Ordering::Relaxed);
        if host == PUBLIC {
            let mut answers = self.0.answers.lock().unwrap();
            return Ok(if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() });
        }
        // A name that is an address by itself is what an attacker's name server says it is.
        let address = host.strip_suffix(".is.example").map(|name| name.replace('-', ":"));
        Ok(vec![address.and_then(|text| text.parse().ok()).unwrap_or("127.0.0.1".parse().unwrap())])
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let net = &self.0;
        net.connects.lock().unwrap().push(address);
        let (client, mut server) = duplex(64 * 1024);
        let (net, written) = (Arc::clone(net), Arc::clone(&net.written));
        self.0.servers.lock().unwrap().spawn(async move {
            let mut request = String::new();
            while !request.contains("\r\n\r\n") {
                let mut piece = [0; 1024];
                let length = server.read(&mut piece).await.unwrap();
                if length == 0 {
                    return;
                }
                request.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
            let reply = (net.serve)(&request);
            net.requests.lock().unwrap().push(request);
            send(server, reply, &written).await;
        });
        Ok(Box::new(client))
    }
}

/// Sends until the other side has gone.
async fn send(mut server: DuplexStream, reply: Reply, written: &AtomicUsize) {
    match reply {
        Reply::Bytes(bytes) => drop(server.write_all(&bytes).await),
        Reply::Endless(head) => {
            let piece = vec![b'x'; 16 * 1024];
            let mut sent = server.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                sent = server.write_all(&piece).await;
                written.fetch_add(piece.len(), Ordering::Relaxed);
            }
        }
        Reply::Drip(head) => {
            let mut sent = server.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_secs(10)).await;
                sent = server.write_all(b"x").await;
            }
        }
    }
}

fn page(kind: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn redirect(to: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes())
}

/// An agent whose network is the test's.
async fn on(net: &Arc<Net>, change: impl FnOnce(&mut WebSettings)) -> World {
    let net = Arc::new(Handed(Arc::clone(net)));
    World::on(PolicyPreset::Full, |set| change(&mut set.web), net).await
}

async fn fetch(world: &World, url: &str) -> ToolFinished {
    world.call("web_fetch", json!({"url": url})).await
}

/// Addresses in somebody's own network, however they are written.
const SPELLINGS: &[&str] = &[
    // 127.0.0.1 and its network
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "0x7f.1",
    "127.0.0.1.",
    "127.127.127.127",
    "127.255.255.254",
    "0x7F.0.0.1",
    "127.0x0.0.1",
    // nowhere
    "0.0.0.0",
    "0",
    "0x0",
    "00",
    "0.1.2.3",
    "0.0.0.0.",
    // private, shared, link-local, the cloud's metadata
    "10.0.0.1",
    "10.255.255.255",
    "0xa.0.0.1",
    "167772161",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "2886729729",
    "192.168.0.1",
    "192.168.1.254",
    "3232235521",
    "0xc0a80001",
    "0300.0250.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "169.254.169.254",
    "169.254.0.1",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "0xa9.0xfe.0xa9.0xfe",
    "169.16689662",
    "192.0.0.192",
    "100.100.100.200",
    // protocols, documentation, benchmarks, multicast, reserved
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    // IPv6
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::]",
    "[2001::7f00:1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[5f00::1]",
    "[2001:20::1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:93.184.215.14]",
    "[64:ff9b::5db8:d70e]",
    // letters that are digits or dots to some
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "１２７.0.0.1",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    // names
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ⓛocalhost",
    "sub.localhost",
    "metadata.google.internal",
    "metadata",
    "kubernetes.default.svc",
    "router.local",
    "intranet",
    "host.docker.internal",
    "127.0.0.1.nip.io",
    "169-254-169-254.is.nip.io",
    "fe80--1.is.example",
    "--1.is.example",
    "fd00--1.is.example",
    "10.0.0.1.is.example",
    "169.254.169.254.is.example",
    "192.168.0.1.is.example",
    "0.0.0.0.is.example",
    "--ffff-a9fe-a9fe.is.example",
    "64-ff9b--a9fe-a9fe.is.example",
    "2002-7f00-1--.is.example",
    "100.64.0.1.is.example",
    "198.18.0.1.is.example",
];

/// Whole addresses that are not what they seem.
const TRICKS: &[&str] = &[
    "http://public.example@127.0.0.1/",
    "http://public.example:80@127.0.0.1/",
    "http://user:pass@public.example/",
    "http://@127.0.0.1/",
    "http://127.0.0.1#@public.example/",
    "http://127.0.0.1?@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http:\\\\127.0.0.1\\",
    "http:127.0.0.1",
    "http:/127.0.0.1",
    "http:///127.0.0.1",
    "http://\t127.0.0.1",
    "http://127.0.0.1\n/",
    " http://127.0.0.1 ",
    "HTTP://127.0.0.1/",
    "hTTps://127.0.0.1/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "ftp://public.example/",
    "gopher://public.example:70/_x",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "jar:http://public.example!/",
    "javascript:alert(1)",
    "data:text/html,x",
    "ws://public.example/",
    "unix:/var/run/docker.sock",
    "//127.0.0.1/",
    "/etc/passwd",
    "public.example",
    "http://",
    "http://%00/",
    "http://public.example:22/",
    "http://public.example:8137/",
    "http://public.example:0/",
    "http://public.example:65536/",
    "http://public.example:2375/",
    "https://public.example:6443/",
    "http://127.0.0.1:80/",
    "http://127.0.0.1:443/",
    "http://[::1]:80/",
    "http://[::1%25lo]/",
    "http://[fe80::1%25eth0]/",
    "http://[127.0.0.1]/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://0x7f.0.0.0.1/",
    "http://127.0.0.1%00.public.example/",
    "http://public.example%2f@127.0.0.1/",
    "http://public.example%00@127.0.0.1/",
    "blob:http://127.0.0.1/x",
    "about:blank",
];

#[tokio::test(start_paused = true)]
async fn nothing_of_somebodys_own_network_is_connected_to() {
    let net = Net::new(|_| page("text/plain", "secret"));
    let world = on(&net, |_| {}).await;
    let spelled = SPELLINGS.iter().map(|host| format!("http://{host}/latest/meta-data/"));
    let urls: Vec<_> = spelled.chain(TRICKS.iter().map(ToString::to_string)).collect();
    assert!(urls.len() >= 150, "{}", urls.len());
    for url in urls {
        let finished = fetch(&world, &url).await;
        assert_eq!(finished.outcome, ToolOutcome::Error, "{url}: {finished:?}");
        assert_eq!(net.connects(), Vec::<String>::new(), "{url}");
    }
    // What is checked is what is asked: to the one parser this is a path of the public host.
    let finished = fetch(&world, "http://public.example\\@127.0.0.1/").await;
    assert_eq!((finished.outcome, net.connects()), (ToolOutcome::Ok, vec![format!("{ADDRESS}:80")]));
    assert!(
        net.requests.lock().unwrap()[0].starts_with("GET /@127.0.0.1/ HTTP/1.1\r\nhost: public.example\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_is_shown_as_text_and_nothing_of_the_gateway_goes_along() {
    let html =
        "<html><head><title>Tea</title></head><body><h1>Green</h1><p>Hot &amp; <b>good</b></p></body></html>";
    let net = Net::new(move |_| page("text/html; charset=utf-8", html));
    let world = on(&net, |_| {}).await;
    let finished = fetch(&world, "http://PUBLIC.example/a?b=c#d").await;
    let wanted = "[http://public.example/a?b=c · 200 · text/html]\nTea\n\n# Green\n\nHot & good";
    assert_eq!(told(&finished), wanted);
    assert_eq!(finished.data.unwrap()["title"], "Tea");
    let request = net.requests.lock().unwrap()[0].to_lowercase();
    let mut lines: Vec<_> = request.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.remove(0), "get /a?b=c http/1.1");
    let names: Vec<_> = lines.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["host", "user-agent", "accept", "accept-encoding", "connection"]);
    assert_eq!(lines[0], "host: public.example");
}

#[tokio::test(start_paused = true)]
async fn each_redirect_is_looked_at_anew() {
    for (to, connects, says) in [
        ("/next", 6, "redirects more than 5 times"),
        ("http://public.example/again", 6, "redirects more than 5 times"),
        ("http://127.0.0.1/", 1, ""),
        ("http://169.254.169.254/latest", 1, ""),
        ("http://other.example/x?y", 1, "call again with http://other.example/x?y"),
        ("http://user:pass@public.example/", 1, "user name or a password"),
        ("http://public.example:22/", 1, "port 22"),
        ("file:///etc/passwd", 1, "only http and https"),
        ("//127.0.0.1/", 1, ""),
    ] {
        let net = Net::new(move |_| redirect(to));
        let world = on(&net, |_| {}).await;
        let finished = fetch(&world, "http://public.example/").await;
        assert_eq!(net.connects(), vec![format!("{ADDRESS}:80"); connects], "{to}");
        assert!(told(&finished).contains(says), "{to}: {finished:?}");
        assert!(!told(&finished).contains("secret"));
    }
    let net = Net::new(|request| {
        if request.starts_with("GET /old") { redirect("/new") } else { page("text/plain", "found") }
    });
    let world = on(&net, |_| {}).await;
    let finished = fetch(&world, "http://public.example/old").await;
    assert_eq!(told(&finished), "[http://public.example/new · 200 · text/plain]\nfound");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_changes_its_address_is_asked_once() {
    let net =
        Net::new(
            |request| {
                if request.starts_with("GET /1") { redirect("/2") } else { page("text/plain", "found") }
            },
        );
    let inside: IpAddr = "127.0.0.1".parse().unwrap();
    net.answers.lock().unwrap().push_back(vec![inside]);
    let world = on(&net, |_| {}).await;
    let finished = fetch(&world, "http://public.example/1").await;
    assert_eq!(finished.outcome, ToolOutcome::Ok, "{finished:?}");
    assert_eq!(net.connects(), vec![format!("{ADDRESS}:80"); 2]);
    assert_eq!(net.resolved.load(Ordering::Relaxed), 1);
    // The next call sees what it resolves to now.
    assert_eq!(fetch(&world, "http://public.example/1").await.outcome, ToolOutcome::Error);
    // One bad address among good ones spoils them.
    *net.answers.lock().unwrap() = VecDeque::from([vec![ADDRESS.parse().unwrap(), inside]]);
    assert_eq!(fetch(&world, "http://public.example/1").await.outcome, ToolOutcome::Error);
    assert_eq!(net.connects().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_without_end_and_bombs_are_cut() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
    let net = Net::new(|_| Reply::Endless(head.into()));
    let world = on(&net, |web| web.max_bytes = 1 << 20).await;
    let finished = fetch(&world, "http://public.example/").await;
    assert!(finished.data.as_ref().unwrap()["truncated"] == true, "{:?}", finished.data);
    assert!(net.written.load(Ordering::Relaxed) < 2 << 20, "it is not read on");

    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    (0..100).for_each(|_| bomb.write_all(&vec![b'x'; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    let net = Net::new(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        Reply::Bytes([head.as_bytes(), &bomb].concat())
    });
    let world = on(&net, |web| web.max_bytes = 1 << 20).await;
    let finished = fetch(&world, "http://public.example/").await;
    assert_eq!(finished.data.as_ref().unwrap()["bytes"], 1 << 20);
    assert_eq!(finished.data.as_ref().unwrap()["truncated"], true);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_ends_in_time() {
    let drip = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
    for head in [drip, "HTTP/1.1 200 OK\r\nx: "] {
        let net = Net::new(move |_| Reply::Drip(head.into()));
        let world = on(&net, |_| {}).await;
        let finished = fetch(&world, "http://public.example/").await;
        assert!(told(&finished).contains("longer than 30 seconds"), "{finished:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_proper_answer_is_an_error() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(5000));
    let coded = |coding: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 3\r\n\r\nabc")
    };
    for bytes in [large, many, coded("br"), coded("gzip"), "no HTTP\r\n\r\n".into(), String::new()] {
        let sent = bytes.clone();
        let net = Net::new(move |_| Reply::Bytes(sent.clone().into_bytes()));
        let world = on(&net, |_| {}).await;
        let finished = fetch(&world, "http://public.example/").await;
        assert_eq!(finished.outcome, ToolOutcome::Error, "{:.80}", bytes);
    }
    for (kind, body) in [("image/png", "x"), ("application/octet-stream", "x"), ("text/plain", "a\0b")] {
        let net = Net::new(move |_| page(kind, body));
        let world = on(&net, |_| {}).await;
        let finished = fetch(&world, "http://public.example/").await;
        assert!(told(&finished).contains("which is no text"), "{finished:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_texts_are_as_they_are_and_long_ones_are_read_on() {
    let net = Net::new(|_| page("text/plain; charset=iso-8859-1", b"caf\xe9"));
    let world = on(&net, |_| {}).await;
    assert!(told(&fetch(&world, "http://public.example/").await).ends_with("café"));

    let net = Net::new(|_| page("application/json", format!("[{}]", "1234567890,".repeat(10_000))));
    let world = on(&net, |_| {}).await;
    let mut from = 0;
    let mut whole = String::new();
    loop {
        let finished = world.call("web_fetch", json!({"url": "http://public.example/", "from": from})).await;
        let told = told(&finished);
        let body = told.split_once('\n').unwrap().1;
        let Some((piece, cut)) = body.split_once("\n[cut: ") else {
            whole.push_str(body);
            break;
        };
        whole.push_str(piece);
        from = cut.rsplit_once(": ").unwrap().1.trim_end_matches(']').parse().unwrap();
    }
    assert_eq!(whole.len(), 110_002);
}

#[tokio::test]
async fn a_host_the_operator_allows_is_fetched_over_a_real_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut servers = JoinSet::new();
    servers.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut piece = [0; 4096];
            let _ = stream.read(&mut piece).await.unwrap();
            let reply = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let url = format!("http://127.0.0.1:{port}/");
    let allowed = World::set(PolicyPreset::Full, |set| {
        set.web.allow_private = vec!["127.0.0.1".into()];
        set.web.ports = vec![port];
    })
    .await;
    assert!(told(&fetch(&allowed, &url).await).ends_with("hello"));
    let usual = World::set(PolicyPreset::Full, |set| set.web.ports = vec![port]).await;
    assert_eq!(fetch(&usual, &url).await.outcome, ToolOutcome::Error);
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_about_each_host() {
    let net = Net::new(|_| page("text/plain", "x"));
    let world = World::on(PolicyPreset::Ask, |_| {}, Arc::new(Handed(Arc::clone(&net)))).await;
    let session = world.kit.session().await;
    let mut client = world.kit.client(session.id()).await;
    world.kit.model().push([Script::calls(&[("web_fetch", json!({"url": "http://public.example/"}))])]);
    session.submit(says("go")).await.unwrap();
    client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
    assert!(net.connects().is_empty() && net.resolved.load(Ordering::Relaxed) == 0);
    let tools = moongate_tools::built_in(&world.settings);
    let tool = tools.iter().find(|tool| tool.spec().name.as_str() == "web_fetch").unwrap();
    let reach = |url: &str| tool.reach(&Value::from_iter([("url", url)]));
    assert_eq!(reach("https://Public.EXAMPLE:443/x"), Reach::Host("public.example".into()));
    assert_eq!(reach("http://0x7f.1/"), Reach::Host("127.0.0.1".into()));
    assert_eq!(reach("nonsense"), Reach::Host(String::new()));
}
