//! What all routes share.

use std::sync::Arc;

use moongate_core::Gateway;
use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    address::Network,
    caller::Callers,
    configuration::Configuration,
    door::{Doors, Rooms},
    keys::AdminKey,
    limits::ServerLimits,
    metrics::Metrics,
    site::Site,
};

/// What an app is made of.
pub struct AppConfig {
    /// The administrator's key.
    pub admin: AdminKey,
    /// Names the server answers to, besides loopback's.
    pub hosts: Vec<String>,
    /// Origins of pages that may talk to it, besides its own.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// Bounds.
    pub limits: ServerLimits,
    /// Knows the configuration and changes it.
    pub config: Arc<dyn Configuration>,
    /// The doors besides the native one.
    pub doors: Doors,
}

impl AppConfig {
    /// An app with defaults for everything but the administrator's key.
    pub fn new(admin: AdminKey) -> Self {
        Self {
            admin,
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: ServerLimits::default(),
            config: Arc::new(()),
            doors: Doors::default(),
        }
    }

    /// An app with a new administrator's key: its text, and the app.
    pub fn generate(ids: &moongate_core::Ids) -> (SecretString, Self) {
        let (text, key) = AdminKey::generate(ids);
        (text, Self::new(key))
    }
}

/// The state behind every route. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    callers: Callers,
    site: Site,
    /// Names of the configuration.
    hosts: Vec<String>,
    listener: Option<(std::net::SocketAddr, bool)>,
    doors: Rooms,
    limits: ServerLimits,
    config: Arc<dyn Configuration>,
    metrics: Metrics,
    /// Fires when open streams have to end.
    closing: CancellationToken,
    /// Fires when what is still open is dropped.
    kill: CancellationToken,
    /// WebSockets: tasks that outlive their request.
    tasks: TaskTracker,
}

impl App {
    /// An app over a gateway.
    pub fn new(gateway: Gateway, config: AppConfig) -> Self {
        Self::listening(gateway, config, None)
    }

    /// An app whose own pages come from this listener.
    pub(crate) fn listening(
        gateway: Gateway,
        config: AppConfig,
        listener: Option<(std::net::SocketAddr, bool)>,
    ) -> Self {
        let mut site = Site::new(&config.hosts, &config.origins, config.trusted_proxies);
        if let Some((local, tls)) = listener {
            site.add_listener(local, tls);
        }
        let callers = Callers::new(Arc::clone(gateway.store()), &config.admin);
        Self(Arc::new(Inner {
            gateway,
            callers,
            site,
            hosts: config.hosts,
            listener,
            doors: Rooms::new(&config.doors),
            limits: config.limits,
            config: config.config,
            metrics: Metrics::default(),
            closing: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    pub(crate) fn callers(&self) -> &Callers {
        &self.0.callers
    }

    pub(crate) fn site(&self) -> &Site {
        &self.0.site
    }

    /// Names of the configuration, besides those every server answers to.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.0.hosts
    }

    /// Where the main listener is, and whether it encrypts.
    pub(crate) fn listener(&self) -> Option<(std::net::SocketAddr, bool)> {
        self.0.listener
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.listener.is_some_and(|(_, tls)| tls)
    }

    /// Puts settings of doors in force that can change while the doors are open; see [`Doors::effect`].
    pub fn set_doors(&self, doors: &Doors) {
        self.0.doors.change(doors);
    }

    /// What each door keeps.
    pub(crate) fn doors(&self) -> &Rooms {
        &self.0.doors
    }

    pub(crate) fn limits(&self) -> &ServerLimits {
        &self.0.limits
    }

    pub(crate) fn config(&self) -> &dyn Configuration {
        &*self.0.config
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    pub(crate) fn kill(&self) -> &CancellationToken {
        &self.0.kill
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }
}
