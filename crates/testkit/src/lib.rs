//! What tests of Moongate share.

pub mod store_suite;
