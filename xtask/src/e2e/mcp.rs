//! `cargo xtask e2e mcp`: MCP servers that others wrote, used by an agent of ours, and the protocol's conformance suite.

use std::path::Path;

use super::{
    install::{Node, Python},
    suites::{build, built},
};
use crate::shell::{self, Failed};

/// The oldest Node.js, major and minor, that the conformance suite takes.
const OLDEST_NODE: (u32, u32) = (22, 0);

/// What the other scripts use; each has to stand beside the packages.
const SHARED: [&str; 2] = ["e2e/mcp/gate.mjs", "e2e/mcp/client.mjs"];

/// Revisions of the protocol the suite is run for.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

pub(super) fn run() -> Result<(), Failed> {
    build()?;
    let python = Python::with("virtualenv")?;
    let node = Node::with(&python, "mcp", OLDEST_NODE)?;
    for shared in SHARED {
        // Put where it is looked for, and not run.
        drop(node.script(Path::new(shared))?);
    }
    for script in ["e2e/mcp/servers.mjs", "e2e/mcp/clients.mjs"] {
        shell::run(node.script(Path::new(script))?.arg(built("moongate")))?;
    }
    for revision in REVISIONS {
        let mut suite = node.script(Path::new("e2e/mcp/proxy.mjs"))?;
        suite.arg(built("moongate")).args(["--requirements", revision, "--expected-failures"]);
        shell::run(suite.arg("e2e/mcp/expected.yaml"))?;
    }
    Ok(())
}
