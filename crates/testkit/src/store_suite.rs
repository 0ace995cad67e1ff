//! The promises of the store's contract, each as a function that panics where an engine breaks it. Every
//! engine runs all of them.

#![expect(clippy::unwrap_used, reason = "a broken promise is a panic; that is what a test sees")]

mod asks;
mod log;
mod projections;
mod scribe;
mod search;
mod submissions;
mod system;
mod turns;
mod uploads;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use moongate_core::Store;

pub use scribe::{Scribe, event, tenant, unique};

/// One promise.
pub type Case = for<'a> fn(&'a dyn Store) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        /// Every promise a running store keeps, by name. Each uses tenants and ids of its own, so that they
        /// can be run on one store, one after the other or all at the same time, but each only once at a
        /// time: sweeping has no tenant.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |store| $module::$name(store).boxed()),)*];
    };
}

cases! {
    log::what_was_appended_is_read_back_byte_for_byte,
    log::a_read_starts_after_a_number_and_ends_at_its_limit,
    log::a_read_is_bounded_in_bytes_and_goes_on,
    log::a_wrong_head_is_a_conflict_and_leaves_no_trace,
    log::a_session_begins_once,
    log::a_newer_owner_shuts_the_older_out,
    log::of_many_writers_with_one_head_one_wins,
    log::many_sessions_write_at_once_and_conflicts_stay_alone,
    log::what_no_correct_writer_asks_is_refused_without_a_trace,
    projections::a_row_is_what_its_last_append_said,
    projections::an_alias_is_one_sessions_in_its_tenant_and_door,
    projections::unfinished_sessions_are_found_oldest_first,
    projections::lists_filter_and_page,
    submissions::a_submission_is_remembered_until_it_is_swept,
    submissions::a_name_that_counts_in_all_sessions_of_a_door_is_used_in_one,
    asks::approvals_are_open_until_somebody_or_the_turns_end_decides,
    asks::questions_are_open_until_somebody_or_the_turns_end_answers,
    projections::usage_is_summed_between_two_times,
    projections::what_was_spent_is_summed_by_account_since_a_time,
    turns::turns_are_listed_newest_first_and_counted_by_how_they_ended,
    turns::lists_know_their_length_and_begin_anywhere,
    projections::a_fork_is_not_paid_for_twice,
    projections::a_deleted_session_leaves_only_its_usage,
    projections::a_session_that_is_not_kept_is_paid_for_all_the_same,
    search::words_are_found_whole_or_begun,
    search::chinese_and_japanese_are_found_by_any_run_of_characters,
    search::nothing_a_person_types_is_syntax,
    search::titles_are_found_in_the_list,
    search::the_newest_is_found_first_and_no_more_than_asked,
    system::keys_are_kept_changed_and_listed,
    system::audit_entries_are_listed_newest_first,
    system::blobs_are_kept_under_their_hash,
    uploads::files_are_their_places_and_have_a_bound,
    uploads::files_no_input_used_go_after_their_time,
}

/// Runs every case on one store.
pub async fn run_all(store: &dyn Store) {
    for (name, case) in CASES {
        assert!(std::panic::AssertUnwindSafe(case(store)).catch_unwind().await.is_ok(), "broken: {name}");
    }
}

/// Everything acknowledged is there after the store was closed and opened anew, and the new owner's
/// generation is higher. `open` opens the same store each time; the one before is dropped first.
pub async fn survives_reopening(open: impl AsyncFn() -> Arc<dyn Store>) {
    system::everything_survives_reopening(open).await;
}
