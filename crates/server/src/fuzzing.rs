//! What reads what strangers send, one function each: for fuzzers, and for the test that plays their seeds again.
//! Nothing here may panic, whatever it is given.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use moongate_core::{Ids, SystemClock, SystemEntropy};

use crate::{
    body,
    door::{construct, native, openai, orra, oxios, shared},
    guard::percent,
    strict,
};

/// Something that reads a stranger's bytes.
pub struct Target {
    /// What it is called, and the folder of its seeds.
    pub name: &'static str,
    /// Reads; says whether it understood.
    pub reads: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "native_frame", reads: |bytes| text(bytes).is_some_and(native::ws::understands) },
    Target { name: "oxios_frame", reads: |bytes| text(bytes).is_some_and(oxios::understands) },
    Target { name: "construct_frame", reads: |bytes| text(bytes).is_some_and(construct::understands) },
    Target { name: "orra_frame", reads: |bytes| text(bytes).is_some_and(orra::understands) },
    Target { name: "responses_frame", reads: |bytes| openai::understands_response(bytes, &ids()) },
    Target { name: "chat_request", reads: |bytes| openai::understands_completion(bytes, &ids()) },
    Target { name: "request_head", reads: request_head },
    Target { name: "json_body", reads: json_body },
];

/// Reads with the target of this name.
pub fn read(name: &str, bytes: &[u8]) -> bool {
    TARGETS.iter().find(|target| target.name == name).is_some_and(|target| (target.reads)(bytes))
}

/// A WebSocket hands on a text only where it is one.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn ids() -> Ids {
    Ids::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// A target and header lines, as every door's guard and the readers of names look at them.
fn request_head(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return false };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let decoded = percent::bytes(uri.path());
    assert!(decoded.len() <= uri.path().len(), "decoding makes nothing longer");
    let named = orra::reads_name(&uri) | construct::reads_query(uri.query().unwrap_or_default());
    named | shared::reads_credential(&uri, &headers)
}

/// What is let through is one JSON value.
fn json_body(bytes: &[u8]) -> bool {
    let strict = strict::check(bytes).is_ok();
    if strict {
        let value = serde_json::from_slice::<serde_json::Value>(bytes);
        assert!(value.is_ok(), "let through and no JSON");
    }
    let object = body::parse::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok();
    assert!(strict || !object, "refused and read all the same");
    strict
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The bytes of every seed of a target.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.collect()
    }

    #[test]
    fn every_seed_is_read_and_so_is_every_beginning_of_it() {
        for target in TARGETS {
            let seeds = seeds(target.name);
            let understood = seeds.iter().filter(|seed| (target.reads)(seed)).count();
            assert!(understood > 0, "{}: some seed is understood", target.name);
            assert!(understood < seeds.len(), "{}: some seed is not", target.name);
            for seed in &seeds {
                for end in 0..seed.len() {
                    (target.reads)(&seed[..end]);
                }
            }
        }
    }
}
