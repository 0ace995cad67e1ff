//! From what is written to what is in force: checks every value where it stands.

use std::{collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use moongate_protocol::{MicroUsd, ModelName};
use moongate_providers::PriceOverride;
use moongate_server::Doors;

use super::{
    Agents, Config, DRAIN, Environment, LISTEN, Log, Server, Tls,
    document::Document,
    fault::{At, Faults},
    file::{File, PriceTable, ServerTable, TelemetryTable},
    texts::Texts,
};
use crate::cli::{Place, ServeArgs};

/// Longest time any setting may ask to wait.
const MAX_SECS: u64 = 24 * 3600;
/// A million tokens for more than this is a mistake in the unit.
const MAX_USD: f64 = 100_000.0;

/// A configuration being read.
pub(crate) struct Reading<'a> {
    pub(crate) document: &'a Document<'a>,
    pub(crate) faults: Faults,
    pub(crate) env: &'a Environment,
    pub(crate) place: &'a Place,
    pub(crate) serve: &'a ServeArgs,
    pub(crate) origins: BTreeMap<String, String>,
}

impl Reading<'_> {
    /// Decides on everything; `None` when there is nothing to go on with, and the faults say why.
    pub(crate) fn config(&mut self, file: File) -> Option<Config> {
        let server = self.server(&file.server);
        let log = self.log(&file.telemetry);
        self.doors(&file.doors);
        let limits = self.limits(&file.limits);
        let spending = self.spending(&file.spend);
        let prices = self.prices(&file.prices);
        let providers = self.providers(&file);
        let data = self.data();
        let tools = data.as_deref().map(|data| self.tools(&file.tools, data));
        let agents = tools.and_then(|tools| self.agents(&file, &providers, tools));
        let mcp = self.mcp(&file, limits.tool_duration);
        let store = file.store.path.clone().or_else(|| data.clone());
        Some(Config {
            texts: Texts::default(),
            data: data?,
            store: store?,
            server: server?,
            providers,
            prices,
            agents: Agents { mcp, ..agents? },
            limits,
            spending,
            log,
            origins: std::mem::take(&mut self.origins),
            file,
        })
    }

    /// Adds a fault at a path of keys in the file.
    pub(crate) fn fault(&mut self, path: &[&str], message: impl Into<String>) {
        let at = self.document.place(path);
        self.faults.push(at, message);
    }

    /// Says where a value comes from that the file does not hold.
    pub(crate) fn from(&mut self, path: &str, origin: &str) {
        self.origins.insert(path.to_owned(), origin.to_owned());
    }

    /// The seconds at a path of keys, when they are within reason.
    pub(crate) fn secs(&mut self, path: &[&str], secs: Option<u64>, least: u64) -> Option<Duration> {
        self.secs_within(path, secs, least..=MAX_SECS)
    }

    pub(crate) fn secs_within(
        &mut self,
        path: &[&str],
        secs: Option<u64>,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        let secs = secs?;
        if range.contains(&secs) {
            return Some(Duration::from_secs(secs));
        }
        let (least, most) = (range.start(), range.end());
        self.fault(path, format!("{secs} seconds: it has to be {least} to {most}"));
        None
    }

    fn doors(&mut self, doors: &Doors) {
        for fault in doors.faults() {
            let path: Vec<&str> =
                std::iter::once("doors").chain(fault.path.iter().map(String::as_str)).collect();
            self.fault(&path, fault.message);
        }
    }

    fn data(&mut self) -> Option<PathBuf> {
        if let Some(path) = &self.place.data {
            let path = path.clone();
            self.from("data", "--data");
            return Some(path);
        }
        if let Some(path) = self.env.get("MOONGATE_DATA").map(PathBuf::from) {
            self.from("data", "MOONGATE_DATA");
            return Some(path);
        }
        let found = self.env.data_folder();
        if found.is_none() {
            let message = "no home folder is known: say where to keep data";
            self.faults.push(At::Flag("--data"), message);
        }
        found
    }

    fn server(&mut self, table: &ServerTable) -> Option<Server> {
        let listen = self.listen(table);
        for (index, origin) in table.origins.iter().flatten().enumerate() {
            if !is_origin(origin) {
                let message = format!(
                    "entry {}: {origin:?} is no origin: it is like https://chat.example.com, without a path",
                    index + 1
                );
                self.fault(&["server", "origins"], message);
            }
        }
        for text in table.trusted_proxies.iter().flatten() {
            if let Err(error) = text.parse::<moongate_server::Network>() {
                self.fault(&["server", "trusted_proxies"], format!("{text:?}: {error}"));
            }
        }
        let tls = table.tls.as_ref().map(|tls| Tls { cert: tls.cert.clone(), key: tls.key.clone() });
        for (key, file) in tls.iter().flat_map(|tls| [("cert", &tls.cert), ("key", &tls.key)]) {
            if !file.is_file() {
                self.fault(&["server", "tls", key], format!("there is no file {}", file.display()));
            }
        }
        if tls.is_some() && table.behind_proxy == Some(true) {
            let message = "with tls the server ends TLS itself, with behind_proxy a proxy does: choose one";
            self.fault(&["server", "behind_proxy"], message);
        }
        Some(Server {
            listen: listen?,
            hosts: table.hosts.clone().unwrap_or_default(),
            origins: table.origins.clone().unwrap_or_default(),
            tls,
            behind_proxy: table.behind_proxy.unwrap_or(false),
            trusted_proxies: table.trusted_proxies.clone().unwrap_or_default(),
            drain: self.secs(&["server", "drain_secs"], table.drain_secs, 0).unwrap_or(DRAIN),
        })
    }

    fn listen(&mut self, table: &ServerTable) -> Option<SocketAddr> {
        if let Some(listen) = self.serve.listen {
            self.from("server.listen", "--listen");
            return Some(listen);
        }
        let advice = "it is an IP address and a port, such as 127.0.0.1:8137 or [::1]:8137";
        if let Some(text) = self.env.get("MOONGATE_LISTEN") {
            self.from("server.listen", "MOONGATE_LISTEN");
            let parsed = text.parse().ok();
            if parsed.is_none() {
                self.faults
                    .push(At::Variable("MOONGATE_LISTEN"), format!("{text:?} is no address: {advice}"));
            }
            return parsed;
        }
        let text = table.listen.as_deref().unwrap_or(LISTEN);
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(&["server", "listen"], format!("{text:?} is no address: {advice}"));
        }
        parsed
    }

    fn log(&mut self, table: &TelemetryTable) -> Log {
        let stated = [
            (self.serve.log.as_deref(), At::Flag("--log")),
            (self.env.get("MOONGATE_LOG"), At::Variable("MOONGATE_LOG")),
            (table.log.as_deref(), self.document.place(&["telemetry", "log"])),
        ];
        let chosen = stated.into_iter().find_map(|(text, at)| Some((text?.to_owned(), at)));
        if let Some((text, at)) = &chosen {
            match at {
                At::Flag(name) | At::Variable(name) => self.from("telemetry.log", name),
                At::File(_) => {}
            }
            if text.parse::<tracing_subscriber::filter::Targets>().is_err() {
                let advice = "it is a level such as info, or info,moongate_core=debug";
                self.faults.push(at.clone(), format!("{text:?} is no filter: {advice}"));
            }
        }
        if self.serve.log_format.is_some() {
            self.from("telemetry.format", "--log-format");
        }
        let format = self.serve.log_format.or(table.format).unwrap_or_default();
        Log { filter: chosen.map(|(text, _)| text), format }
    }

    fn prices(&mut self, tables: &BTreeMap<String, PriceTable>) -> Vec<PriceOverride> {
        let mut prices = Vec::new();
        for (name, table) in tables {
            let stated = [Some(table.input), Some(table.output), table.cache_read, table.cache_write];
            if stated.into_iter().flatten().any(|usd| !(0.0..=MAX_USD).contains(&usd)) {
                let message = format!("a price is in US dollars for a million tokens, 0 to {MAX_USD}");
                self.fault(&["prices", name], message);
                continue;
            }
            let Ok(model) = name.parse::<ModelName>() else {
                self.fault(&["prices", name], "the name is like \"provider/model\", in quotes");
                continue;
            };
            let price = moongate_core::Price {
                input: micro_usd(table.input),
                output: micro_usd(table.output),
                cache_read: table.cache_read.map(micro_usd),
                cache_write: table.cache_write.map(micro_usd),
                source: "operator".into(),
            };
            prices.push(PriceOverride { model, price: Some(price), context_window: None });
        }
        prices
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are checked to be from 0 to a billion dollars"
)]
/// Money as it is counted; the amount was checked to be within reason.
pub(crate) fn micro_usd(usd: f64) -> MicroUsd {
    MicroUsd((usd * 1e6).round() as u64)
}

/// Whether a text is a web origin: scheme, host and perhaps a port.
fn is_origin(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    uri.is_some_and(|uri| {
        uri.scheme().is_some() && uri.authority().is_some_and(|host| text.ends_with(host.as_str()))
    })
}
