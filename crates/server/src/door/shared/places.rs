//! Where doors may be, and whom they may let in: what the types of the settings do not say.

use std::net::SocketAddr;

use super::Dialect;
use crate::door::SettingFault;

/// Paths of the main listener that are not a door's to take.
const TAKEN: [&str; 6] = ["api", "healthz", "readyz", "metrics", "openapi.json", "ui"];

/// The places of the doors looked at so far, and what is wrong with them.
#[derive(Default)]
pub(crate) struct Places {
    prefixes: Vec<String>,
    listeners: Vec<SocketAddr>,
    pub(crate) faults: Vec<SettingFault>,
}

impl Places {
    /// Looks at one more door.
    pub(crate) fn check<D: Dialect>(&mut self, it: Option<&D>) {
        let Some(it) = it else { return };
        let place = it.place();
        if let Some(message) = self.prefix_fault(&place.prefix) {
            self.fault::<D>("prefix", message);
        }
        self.prefixes.push(place.prefix);
        let listen = place.listen.filter(|listen| listen.port() != 0);
        if listen.is_some_and(|listen| self.listeners.contains(&listen)) {
            self.fault::<D>("listen", "another door listens there".into());
        }
        self.listeners.extend(listen);
        if place.origins.iter().any(|origin| origin == "*") {
            let message = "\"*\" would let every page in: list the origins, such as https://chat.example.com";
            self.fault::<D>(D::ORIGINS_KEY, message.into());
        } else if let Some(bad) = place.origins.iter().find(|origin| !is_origin(origin)) {
            let message =
                format!("{bad:?} is no origin: it is like https://chat.example.com, without a path");
            self.fault::<D>(D::ORIGINS_KEY, message);
        }
        for (key, message) in it.faults() {
            self.fault::<D>(&key, message);
        }
    }

    fn prefix_fault(&self, prefix: &str) -> Option<String> {
        let advice = "it is like /name: parts of letters, digits, - _ . each after a slash, none at the end";
        let is_part = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.chars().all(plain) && !part.chars().all(|c| c == '.')
        };
        let Some(rest) = prefix.strip_prefix('/').filter(|rest| rest.split('/').all(is_part)) else {
            return Some(format!("{prefix:?} is no prefix: {advice}"));
        };
        let first = rest.split('/').next().unwrap_or_default();
        if TAKEN.contains(&first) {
            return Some(format!("/{first} is taken by the server itself"));
        }
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let other = self.prefixes.iter().find(|other| within(prefix, other) || within(other, prefix))?;
        Some(format!("another door is at {other}"))
    }

    fn fault<D: Dialect>(&mut self, key: &str, message: String) {
        let path = std::iter::once(D::NAME).chain(key.split('.')).map(str::to_owned).collect();
        self.faults.push(SettingFault { path, message });
    }
}

/// Whether a text is a web origin: scheme, host and perhaps a port.
fn is_origin(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    uri.is_some_and(|uri| {
        uri.scheme().is_some() && uri.authority().is_some_and(|host| text.ends_with(host.as_str()))
    })
}
