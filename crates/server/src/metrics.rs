//! What is counted, and how Prometheus reads it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use moongate_core::Gateway;

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Counters of the doors.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<BTreeMap<String, Route>>,
    /// Open event streams.
    pub(crate) sse: Gauge,
    /// Open WebSockets.
    pub(crate) websockets: Gauge,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections turned away.
    pub(crate) turned_away: Counter,
    /// Clients dropped because they did not read.
    pub(crate) stalled: Counter,
    /// Streams that had to start anew.
    pub(crate) resets: Counter,
}

#[derive(Debug, Default)]
struct Route {
    replies: BTreeMap<(&'static str, u16), u64>,
    buckets: [u64; BUCKETS.len()],
    seconds: f64,
    count: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A number of things there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// Counts an answered request, and writes it to the log: by its template, never by what it said.
    pub(crate) fn request(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        self.count(route, method, status, took);
        let (method, status) = (name_of(method), status.as_u16());
        let duration_ms = took.as_secs_f64() * 1e3;
        match status {
            // Nothing failed: the contract is ahead of the program.
            501 => tracing::info!(http.route = route, method, status, duration_ms, "request refused"),
            500.. => tracing::error!(http.route = route, method, status, duration_ms, "request failed"),
            400.. => tracing::info!(http.route = route, method, status, duration_ms, "request refused"),
            _ => tracing::debug!(http.route = route, method, status, duration_ms, "request"),
        }
    }

    fn count(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let Some(counts) = routes.get_mut(route) else { return };
        *counts.replies.entry((name_of(method), status.as_u16())).or_default() += 1;
        let seconds = took.as_secs_f64();
        counts.seconds += seconds;
        counts.count += 1;
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            counts.buckets[bucket] += 1;
        }
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn render(&self, gateway: &Gateway) -> String {
        let mut text = String::with_capacity(8 << 10);
        self.render_routes(&mut text);
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = [
            ("moongate_connections", "Open connections.", self.connections.0.load(Relaxed)),
            ("moongate_sse_streams", "Open event streams.", self.sse.0.load(Relaxed)),
            ("moongate_websockets", "Open WebSockets.", self.websockets.0.load(Relaxed)),
            ("moongate_running_turns", "Turns that run.", number(gateway.running_turns())),
            ("moongate_open_sessions", "Sessions in memory.", number(gateway.open_sessions())),
            ("moongate_store_writable", "1 while the store takes writes.", writable(gateway)),
        ];
        for (name, help, value) in gauges {
            head(&mut text, name, help, "gauge");
            line(&mut text, format_args!("{name} {value}"));
        }
        let counters = [
            ("moongate_connections_turned_away_total", "Connections over a bound.", &self.turned_away),
            ("moongate_stalled_clients_total", "Clients that did not read.", &self.stalled),
            ("moongate_stream_resets_total", "Streams that started anew.", &self.resets),
        ];
        for (name, help, counter) in counters {
            head(&mut text, name, help, "counter");
            line(&mut text, format_args!("{name} {}", counter.0.load(Relaxed)));
        }
        text
    }

    fn render_routes(&self, text: &mut String) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "moongate_http_requests_total";
        head(text, name, "Answered requests.", "counter");
        for (route, counts) in routes.iter() {
            for ((method, status), count) in &counts.replies {
                let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
                line(text, format_args!("{name}{{{labels}}} {count}"));
            }
        }
        let name = "moongate_http_request_duration_seconds";
        head(text, name, "Time until the reply began.", "histogram");
        for (route, counts) in routes.iter() {
            let mut up_to = 0;
            for (bound, count) in BUCKETS.iter().zip(counts.buckets) {
                up_to += count;
                line(text, format_args!("{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {up_to}"));
            }
            line(text, format_args!("{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}", counts.count));
            line(text, format_args!("{name}_sum{{route=\"{route}\"}} {}", counts.seconds));
            line(text, format_args!("{name}_count{{route=\"{route}\"}} {}", counts.count));
        }
    }
}

fn writable(gateway: &Gateway) -> i64 {
    i64::from(gateway.store().fault().is_none())
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

/// A method's name; one for all that no route has, so that clients cannot make labels.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
