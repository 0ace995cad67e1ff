//! Which crate may know which. The direction never bends: protocol ← core ← everything else.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;

use super::Finding;
use crate::shell::Failed;

/// Crates that may know every other.
const TOP: &[&str] = &["moongate", "bench", "testkit", "xtask"];

/// What a crate beneath the top may know of ours, and what it may not know at all.
struct Layer {
    folder: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { folder: "protocol", ours: &[], never: TRANSPORTS_AND_ENGINES },
    Layer { folder: "core", ours: &["protocol"], never: TRANSPORTS_AND_ENGINES },
    Layer { folder: "store", ours: &["protocol", "core"], never: TRANSPORTS },
    Layer { folder: "providers", ours: &["protocol", "core"], never: ENGINES },
    Layer { folder: "tools", ours: &["protocol", "core"], never: ENGINES },
    Layer { folder: "server", ours: &["protocol", "core"], never: ENGINES },
];

const TRANSPORTS: &[&str] =
    &["axum", "hyper", "hyper-util", "http", "http-body-util", "reqwest", "tungstenite", "tower"];
const ENGINES: &[&str] = &["rusqlite", "libsqlite3-sys", "tokio-postgres", "sqlx"];
const TRANSPORTS_AND_ENGINES: &[&str] = &[
    "axum",
    "hyper",
    "hyper-util",
    "http",
    "http-body-util",
    "reqwest",
    "tungstenite",
    "tower",
    "rusqlite",
    "libsqlite3-sys",
    "tokio-postgres",
    "sqlx",
    "rustls",
    "tokio-rustls",
];

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

/// Checks every crate's manifest; what only tests need is free.
pub(super) fn check() -> Result<Vec<Finding>, Failed> {
    let mut findings = Vec::new();
    let folders = fs::read_dir("crates").map_err(|e| Failed::cannot(format!("crates: {e}")))?;
    for folder in folders.filter_map(Result::ok) {
        let folder = folder.file_name().to_string_lossy().into_owned();
        let path = format!("crates/{folder}/Cargo.toml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let manifest: Manifest = toml::from_str(&text).map_err(|e| Failed::cannot(format!("{path}: {e}")))?;
        let faults = faults(&folder, manifest.dependencies.keys().map(String::as_str));
        findings.extend(faults.into_iter().map(|advice| Finding::new(&path, 1, "layers", advice)));
    }
    Ok(findings)
}

fn faults<'a>(folder: &str, dependencies: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some(layer) = LAYERS.iter().find(|layer| layer.folder == folder) else {
        let advice = format!("`{folder}` has no place in the layers: a boundary has to earn its crate");
        return if TOP.contains(&folder) { Vec::new() } else { vec![advice] };
    };
    let forbidden = dependencies.filter(|name| match name.strip_prefix("moongate-") {
        Some(ours) => !layer.ours.contains(&ours),
        None => layer.never.contains(name),
    });
    forbidden.map(|name| format!("`{folder}` may not know `{name}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_knows_only_what_lies_beneath_it() {
        assert!(faults("core", ["moongate-protocol", "tokio"].into_iter()).is_empty());
        assert_eq!(faults("core", ["moongate-store", "http", "rusqlite"].into_iter()).len(), 3);
        assert_eq!(faults("server", ["moongate-providers", "moongate-core"].into_iter()).len(), 1);
        assert!(faults("moongate", ["moongate-providers"].into_iter()).is_empty());
        assert_eq!(faults("common", std::iter::empty()).len(), 1);
    }
}
