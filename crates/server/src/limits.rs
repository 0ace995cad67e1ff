//! Every bound of the doors: a name, a default, its unit and its reason. The engine has its own.

use std::time::Duration;

/// Bytes of a JSON body: far more than any command without files needs.
pub const JSON_BODY_BYTES: usize = 1 << 20;
/// Bytes of a JSON body whose parts carry files.
pub const FILE_BODY_BYTES: usize = 32 << 20;
/// Bytes of an imported log.
pub const IMPORT_BODY_BYTES: usize = 32 << 20;
/// Nesting of a JSON body: deeper ones are made to exhaust a stack.
pub const JSON_DEPTH: usize = 64;
/// Bytes of all header names and values of a request.
pub const HEADER_BYTES: usize = 16 << 10;
/// Bytes of a request's target.
pub const URL_BYTES: usize = 8 << 10;
/// Bytes of one WebSocket frame.
pub const WS_FRAME_BYTES: usize = 1 << 20;
/// Bytes of one WebSocket message.
pub const WS_MESSAGE_BYTES: usize = 4 << 20;
/// Bytes a WebSocket reads at once; one such buffer lives as long as its socket.
pub const WS_READ_BUFFER: usize = 2 << 10;
/// Bytes a WebSocket gathers before it writes: what is ready at once goes out at once.
pub const WS_WRITE_BUFFER: usize = 8 << 10;
/// Sessions one WebSocket follows.
pub const WS_SUBSCRIPTIONS: usize = 256;
/// Sockets of a node: each costs memory as long as it is open.
pub const CONNECTIONS: usize = 20_000;
/// Sockets from one address, so that one client cannot take them all. Loopback and trusted proxies speak for
/// many and have the node's bound only.
pub const CONNECTIONS_PER_ADDRESS: usize = 2_000;
/// Time for a request's head to arrive once it began.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time a connection may be without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without a byte of a body that is still owed.
pub const BODY_STALL: Duration = Duration::from_secs(30);
/// Bytes a second a body has to arrive with, the first stall's time apart: one that drips is no upload.
pub const BODY_RATE: u64 = 8 << 10;
/// Time without a byte taken by a client that is sent something.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How often a stream without news shows that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a WebSocket's peer may be silent, pongs included.
pub const WS_SILENCE: Duration = Duration::from_secs(60);
/// How long a stream has to say goodbye.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// How long a client that does not read has to take the reason why it is closed.
pub const SLOW_GRACE: Duration = Duration::from_secs(5);
/// Longest `Prefer: wait`, in seconds.
pub const PREFER_WAIT_SECS: u64 = 600;
/// Longest long poll, in seconds.
pub const POLL_WAIT_SECS: u64 = 60;
/// Items of a page.
pub const PAGE_ITEMS: usize = 50;
/// Most items of a page.
pub const PAGE_ITEMS_MAX: usize = 200;
/// Events of a page.
pub const EVENT_PAGE: usize = 256;
/// Most events of a page.
pub const EVENT_PAGE_MAX: usize = 1_000;
/// Bytes of a search text.
pub const SEARCH_BYTES: usize = 256;
/// Bytes of a key's label.
pub const LABEL_BYTES: usize = 128;
/// Entries of a key's lists (agents, namespaces, networks).
pub const KEY_LIST: usize = 64;
/// Days a key lives when nobody says how long.
pub const KEY_DAYS: u64 = 90;
/// Most days a key may live.
pub const KEY_DAYS_MAX: u64 = 365;
/// Verified keys that are remembered.
pub const KNOWN_KEYS: usize = 4_096;
/// How long a verified key is believed before the store is asked again: another process may have revoked it.
pub const KEY_BELIEVED: Duration = Duration::from_secs(2);
/// How long a browser that signed in may stay away before it has to sign in again.
pub const BROWSER_IDLE: Duration = Duration::from_hours(24);
/// How long a browser stays signed in, however busy it is. Never longer than the key it was signed in with.
pub const BROWSER_LIFE: Duration = Duration::from_hours(7 * 24);
/// How long a link that signs a browser in works. It works once.
pub const LINK_LIFE: Duration = Duration::from_mins(10);
/// Links that wait for their browser.
pub const LINKS: usize = 32;
/// Failed authentications from one address in a window.
pub const FAILURES_PER_ADDRESS: u32 = 30;
/// Failed authentications from all addresses in a window.
pub const FAILURES_GLOBAL: u32 = 300;
/// The window in which failed authentications are counted.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Failed authentications at the doors from one address in a window, the last one allowed included.
pub const DOOR_FAILURES: u32 = 10;
/// How long failing requests of an address are held back at the doors once it failed that often.
pub const DOOR_PENALTY: Duration = Duration::from_secs(300);
/// Addresses whose failures are counted apart; the others share one count.
pub const FAILURE_ADDRESSES: usize = 10_000;
/// Streams a client may have open on one HTTP/2 connection.
pub const H2_STREAMS: u32 = 128;

/// The bounds of the doors an operator may change.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// See [`CONNECTIONS`].
    pub connections: usize,
    /// See [`CONNECTIONS_PER_ADDRESS`].
    pub connections_per_address: usize,
    /// See [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// See [`BODY_STALL`].
    pub body_stall: Duration,
    /// See [`WRITE_STALL`].
    pub write_stall: Duration,
    /// See [`HEARTBEAT`].
    pub heartbeat: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_stall: BODY_STALL,
            write_stall: WRITE_STALL,
            heartbeat: HEARTBEAT,
        }
    }
}
