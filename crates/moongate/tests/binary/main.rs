//! The program as a person and an operating system see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here is a test")]

mod approvals;
mod chat;
mod commands;
mod config;
mod doors;
mod home;
mod life;
mod questions;
