//! A session's approvals in memory, and the order they are listed in.

use std::{cmp::Reverse, collections::BTreeMap};

use moongate_protocol::{ApprovalId, SessionId};

use crate::{ApprovalChange, ApprovalFilter, ApprovalRow};

/// Where a session's log says what about its approvals.
#[derive(Debug, Default)]
pub(crate) struct ApprovalTable(BTreeMap<ApprovalId, ApprovalRow>);

impl ApprovalTable {
    pub(crate) fn change(&mut self, session: SessionId, change: ApprovalChange) {
        match change {
            ApprovalChange::Open(approval, asked, expires_at) => {
                let row = ApprovalRow { approval, session, asked, expires_at, decided: None };
                self.0.insert(approval, row);
            }
            ApprovalChange::Close(approval, seq, at) => {
                if let Some(row) = self.0.get_mut(&approval) {
                    row.decided.get_or_insert((seq, at));
                }
            }
            ApprovalChange::CloseAll(seq, at) => {
                for row in self.0.values_mut() {
                    row.decided.get_or_insert((seq, at));
                }
            }
        }
    }

    pub(crate) fn get(&self, approval: ApprovalId) -> Option<ApprovalRow> {
        self.0.get(&approval).copied()
    }

    pub(crate) fn rows(&self, filter: ApprovalFilter) -> impl Iterator<Item = ApprovalRow> {
        let is_open = filter == ApprovalFilter::Open;
        self.0.values().filter(move |row| row.decided.is_none() == is_open).copied()
    }
}

/// Brings rows into the order their filter names.
pub(crate) fn sort(rows: &mut [ApprovalRow], filter: ApprovalFilter) {
    match filter {
        ApprovalFilter::Open => rows.sort_by_key(|row| (row.expires_at, row.approval)),
        ApprovalFilter::Decided => {
            rows.sort_by_key(|row| Reverse((row.decided.map(|(seq, at)| (at, seq)), row.approval)));
        }
    }
}
