//! Commands that were carried out before: they get the answer they got then, and change nothing.

use std::sync::Arc;

use moongate_protocol::{Command, ErrorCode, Idempotency, InputId, KeySpace, Principal};

use super::actor::{Actor, Done, refusal_for};
use crate::{Append, IdempotencyRow, KeyPlace, Refusal, StoreError, SubmissionKey};

impl Actor {
    /// A client's name for a submission, as the store knows it.
    fn named(&self, by: &Principal, named: &Idempotency) -> SubmissionKey {
        let identity = self.slot.identity();
        let place = match named.space {
            KeySpace::Session => KeyPlace::Session(self.slot.id()),
            KeySpace::Door => KeyPlace::Door(identity.tenant.clone(), Arc::clone(&identity.door)),
        };
        SubmissionKey { place, by: by.clone(), key: named.key.clone() }
    }

    /// What is written down of a submission with a name.
    pub(super) fn idempotency_row(
        &self,
        by: &Principal,
        command: &Command,
        input: Option<InputId>,
        draft: &Append,
    ) -> Option<IdempotencyRow> {
        let Command::Submit(new) = command else { return None };
        let (idempotency, input) = (new.idempotency.as_ref()?, input?);
        Some(IdempotencyRow {
            name: self.named(by, idempotency),
            session: self.slot.id(),
            body_hash: idempotency.body_hash,
            input,
            position: draft.records.first()?.position(),
            queue_length: self.log.state.view().queue.len(),
            at: self.shared.ids.now(),
        })
    }

    /// The answer to a submission that was made before under the same key.
    pub(super) async fn already_done(
        &self,
        by: &Principal,
        command: &Command,
    ) -> Option<Result<Done, Refusal>> {
        if matches!(command, Command::Resolve(_) | Command::Answer(_)) {
            return self.decided_before(command).await;
        }
        let Command::Submit(input) = command else { return None };
        let wanted = input.idempotency.as_ref()?;
        match self.slot.store().idempotency(&self.named(by, wanted)).await {
            Ok(None) => None,
            Ok(Some(row)) if row.session == self.slot.id() && wanted.instead_of == Some(row.input) => None,
            Ok(Some(row)) if row.body_hash != wanted.body_hash => {
                let message = "this idempotency key was used for another body";
                Some(Err(Refusal::new(ErrorCode::IdempotencyMismatch, message)))
            }
            Ok(Some(row)) if row.session != self.slot.id() => Some(Err(refusal_for(&StoreError::KeyTaken))),
            Ok(Some(row)) => {
                let mut done = self.done(Some(row.input));
                done.position = row.position;
                done.queue_length = row.queue_length;
                done.already = true;
                Some(Ok(done))
            }
            Err(error) => Some(Err(refusal_for(&error))),
        }
    }
}
