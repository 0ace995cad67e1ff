//! Our codecs against upstreams that others wrote. Nothing here runs by itself: `cargo xtask e2e` starts the
//! upstreams and says in the environment where they are (see `docs/third-party.md`).

#![expect(clippy::expect_used, reason = "a test's helpers may panic")]

mod aimock;
mod ask;
mod control;
mod llama;
mod llmock;
mod llmsim;
