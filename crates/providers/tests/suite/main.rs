//! The providers as the engine sees them, against a provider that does exactly what a script says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has to panic")]

mod connections;
mod demo;
mod registry;
mod retries;
mod support;
mod upstream_faults;
