//! The listener: accepts, counts, serves, and goes away in order.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use futures_util::future::join_all;
use moongate_core::{Gateway, Refusal};
use moongate_protocol::ErrorCode;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App, AppConfig,
    address::counted,
    connection,
    limits::{CLOSE_GRACE, KEY_BELIEVED},
    router,
    tls::Tls,
    wire,
};

/// How long to wait when the machine has no sockets left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where and how to listen.
pub struct ServerConfig {
    /// The address.
    pub listen: SocketAddr,
    /// Certificate and key, for encrypted connections.
    pub tls: Option<Tls>,
    /// A proxy in front encrypts.
    pub behind_proxy: bool,
    /// Everything the routes need.
    pub app: AppConfig,
}

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Keys would cross a network in the clear.
    #[error(
        "{0} is not a loopback address: configure a certificate (server.tls), or set server.behind_proxy when a \
         proxy in front encrypts"
    )]
    ClearText(SocketAddr),
    /// The operating system refused.
    #[error("cannot listen on {address}: {error}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The certificate or its key is not usable.
    #[error("the certificate is not usable: {0}")]
    Certificate(String),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    /// Doors with a listener of their own.
    doors: Vec<OwnListener>,
    tls: Option<Tls>,
    app: App,
}

struct OwnListener {
    door: &'static str,
    listener: TcpListener,
    local: SocketAddr,
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) app: App,
    pub(crate) tls: Option<Tls>,
    pub(crate) tasks: TaskTracker,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Server {
    /// Listens. Connections are answered when [`Server::run`] runs.
    ///
    /// # Errors
    /// When the address is not loopback and nothing encrypts, or the operating system refuses.
    pub async fn bind(config: ServerConfig, gateway: Gateway) -> Result<Self, BindError> {
        let encrypts = config.tls.is_some() || config.behind_proxy;
        let (listener, local) = listen(config.listen, encrypts).await?;
        let app = App::listening(gateway, config.app, Some((local, config.tls.is_some())));
        let mut doors = Vec::new();
        for (door, address) in app.doors().listeners() {
            let (listener, local) = listen(address, encrypts).await?;
            doors.push(OwnListener { door, listener, local });
        }
        Ok(Self { listener, local, doors, tls: config.tls, app })
    }

    /// Where a door listens that has a listener of its own.
    pub fn door_addr(&self, door: &str) -> Option<SocketAddr> {
        self.doors.iter().find(|own| own.door == door).map(|own| own.local)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The state behind its routes.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `shutdown` fires. Then takes no new connections, tells streams, lets running turns go on
    /// for `drain`, ends streams in a way they can resume, and returns.
    pub async fn run(self, shutdown: CancellationToken, drain: Duration) {
        let Self { listener, doors, app, tls, .. } = self;
        let shared =
            Arc::new(Shared { app: app.clone(), tls, tasks: TaskTracker::new(), counts: Mutex::default() });
        shared.tasks.spawn(watch_keys(app.clone()));
        let housekeeper = app.clone();
        shared.tasks.spawn(async move { housekeeper.doors().keep_house(&housekeeper).await });
        let at_root = |own: OwnListener| {
            app.doors().at_root(own.door, &app, own.local).map(|router| (own.listener, router))
        };
        let own = doors.into_iter().filter_map(at_root);
        let all = own.chain([(listener, router(app.clone()))]);
        join_all(all.map(|(listener, router)| accept(listener, router, &shared, &shutdown))).await;
        app.gateway().drain(drain).await;
        app.closing().cancel();
        shared.tasks.close();
        app.tasks().close();
        let ended = || async { tokio::join!(shared.tasks.wait(), app.tasks().wait()) };
        // A stream's goodbye may take its own grace.
        if timeout(2 * CLOSE_GRACE, ended()).await.is_err() {
            app.kill().cancel();
            // Whoever is left was told to drop everything: this takes no time.
            if timeout(CLOSE_GRACE, ended()).await.is_err() {
                tracing::warn!("some connections did not end");
            }
        }
    }
}

/// Binds an address, unless keys would cross a network in the clear.
async fn listen(address: SocketAddr, encrypts: bool) -> Result<(TcpListener, SocketAddr), BindError> {
    if !address.ip().is_loopback() && !encrypts {
        return Err(BindError::ClearText(address));
    }
    let refused = |error| BindError::Refused { address, error };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    Ok((listener, local))
}

/// Takes a listener's connections until the server goes away.
async fn accept(listener: TcpListener, router: Router, shared: &Arc<Shared>, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => admit(shared, &router, socket, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Serves a connection, unless there are too many.
fn admit(shared: &Arc<Shared>, router: &Router, socket: TcpStream, peer: SocketAddr) {
    let Some(permit) = Permit::take(shared, peer.ip()) else {
        shared.app.metrics().turned_away.add();
        if shared.tls.is_none() {
            let wait = Duration::from_secs(1);
            let full = Refusal::later(ErrorCode::Unavailable, "too many connections", wait);
            // Nobody waits for a client that is turned away: what fits its socket's buffer is sent.
            drop(socket.try_write(&wire::raw(&full.into())));
        }
        return;
    };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a socket keeps Nagle's algorithm");
    }
    shared.tasks.spawn(connection::serve(permit, router.clone(), socket, peer.ip()));
}

/// A place among the open connections, given back when dropped.
pub(crate) struct Permit {
    pub(crate) shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Permit {
    fn take(shared: &Arc<Shared>, peer: IpAddr) -> Option<Self> {
        let limits = shared.app.limits();
        let speaks_for_many = peer.to_canonical().is_loopback()
            || shared.app.site().trusted().iter().any(|net| net.contains(peer));
        let address = (!speaks_for_many).then(|| counted(peer));
        let mut counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= limits.connections {
            return None;
        }
        if let Some(address) = address {
            let own = counts.by_address.entry(address).or_default();
            if *own >= limits.connections_per_address {
                return None;
            }
            *own += 1;
        }
        counts.all += 1;
        shared.app.metrics().connections.up();
        Some(Self { shared: Arc::clone(shared), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.app.metrics().connections.down();
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(own) = counts.by_address.get_mut(&address)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// Ends the streams of keys that another process revoked.
async fn watch_keys(app: App) {
    loop {
        tokio::select! {
            () = app.closing().cancelled() => return,
            () = sleep(KEY_BELIEVED) => {}
        }
        app.callers().verify_open(app.gateway().ids().now()).await;
    }
}
