//! Questions as callers see them: listed, looked up and answered by their own ids.

use moongate_protocol::{
    Answer, Event, QuestionAnswered, QuestionAsked, QuestionId, QuestionState, SessionId, Tenant, Timestamp,
};

use crate::{
    AskQuery, Caller, Gateway, QuestionRow, Refusal, Store, StoreError,
    asks::{Ask, event},
    session::gateway_principal,
};

/// A question, with the answers once there are some.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionView {
    /// In which session.
    pub session: SessionId,
    /// What a person is asked.
    pub asked: QuestionAsked,
    /// Since when.
    pub asked_at: Timestamp,
    /// How it was closed, where anything was written about it.
    pub answered: Option<QuestionAnswered>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// It was closed before whoever is answered this answered.
    pub already: bool,
}

impl QuestionView {
    /// What became of it.
    pub fn state(&self) -> QuestionState {
        match &self.answered {
            None if self.closed_at.is_none() => QuestionState::Open,
            Some(answered) if !answered.answers.is_null() => QuestionState::Answered,
            Some(answered) if answered.by == gateway_principal() => QuestionState::Expired,
            _ => QuestionState::Closed,
        }
    }
}

impl Ask for QuestionId {
    type View = QuestionView;
    const NAME: &'static str = "question";

    async fn rows(
        store: &dyn Store,
        tenant: &Tenant,
        query: &AskQuery,
    ) -> Result<Vec<QuestionRow>, StoreError> {
        store.questions(tenant, query).await
    }

    async fn row(self, store: &dyn Store, tenant: &Tenant) -> Result<Option<QuestionRow>, StoreError> {
        store.question(tenant, self).await
    }

    async fn view(store: &dyn Store, row: &QuestionRow) -> Result<QuestionView, StoreError> {
        let asked = event(store, row.session, row.asked).await?;
        let Event::QuestionAsked(question) = asked.event else {
            return Err(StoreError::Damaged("a question is not where it was written".into()));
        };
        let mut view = QuestionView {
            session: row.session,
            asked: question,
            asked_at: asked.at,
            answered: None,
            closed_at: None,
            already: false,
        };
        if let Some((seq, _)) = row.closed {
            let closed = event(store, row.session, seq).await?;
            view.closed_at = Some(closed.at);
            // Else its turn ended, and nothing more was written about it.
            if let Event::QuestionAnswered(answered) = closed.event {
                view.answered = Some(answered);
            }
        }
        Ok(view)
    }
}

impl Gateway {
    /// The questions of the sessions the caller may see.
    ///
    /// # Errors
    /// When the caller may not see sessions, or the store cannot be read.
    pub async fn questions(&self, caller: &Caller, query: AskQuery) -> Result<Vec<QuestionView>, Refusal> {
        self.asks::<QuestionId>(caller, query).await
    }

    /// A question in a session the caller may see, answered or not.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub async fn question(&self, caller: &Caller, id: QuestionId) -> Result<QuestionView, Refusal> {
        self.ask(caller, id).await
    }

    /// Answers a question, whatever session it is in. The first answer counts; a later one is answered with the
    /// first.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `too_large`, or `unprocessable` when the answers do not fit the form: the question
    /// stays open then.
    pub async fn answer(&self, caller: &Caller, answer: Answer) -> Result<QuestionView, Refusal> {
        self.session_that_asks(caller, answer.question).await?.answer(answer).await
    }
}
