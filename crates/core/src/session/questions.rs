//! What people were asked in a session's open turn and did not answer yet: a fold of the log, and the decisions on
//! it.

use std::collections::BTreeMap;

use moongate_protocol::{
    Answer, ErrorCode, Event, Part, Principal, QuestionAnswered, QuestionAsked, QuestionId, SpendScope,
    Timestamp, ToolFinished, ToolOutcome,
};
use serde_json::Value;

use super::{
    approvals::gateway,
    decide::{Context, Decision, TurnChange},
    state::State,
};
use crate::{Form, Refusal, form::told, limits::QUESTION_ANSWERS_BYTES};

/// What the model is told of a question nobody answered.
const UNANSWERED: &str = "Nobody answered in time.";
/// What it is told of one whose turn was stopped.
const STOPPED: &str = "The turn was stopped before anybody answered.";

/// The questions that are open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Questions(BTreeMap<QuestionId, QuestionAsked>);

impl Questions {
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::QuestionAsked(asked) => {
                self.0.insert(asked.question, asked.clone());
            }
            Event::QuestionAnswered(answered) => {
                self.0.remove(&answered.question);
            }
            // A fork asks nobody.
            Event::SessionForked(_) | Event::TurnStarted(_) => self.0.clear(),
            event if event.ends_turn().is_some() => self.0.clear(),
            _ => {}
        }
    }

    /// The spend limit a question is about, where it is about one.
    pub(super) fn limit_of(&self, question: QuestionId) -> Option<SpendScope> {
        self.0.get(&question)?.limit
    }

    /// Those nobody answered yet.
    pub(super) fn open(&self) -> impl Iterator<Item = &QuestionAsked> {
        self.0.values()
    }
}

/// How a question ends.
enum Ending<'a> {
    Answered(&'a Value, &'a Principal),
    Expired,
    Stopped(&'a Principal),
}

/// Decides on an answer.
///
/// # Errors
/// A refusal; the question stays open then.
pub(super) fn answer(state: &State, answer: &Answer, context: &Context<'_>) -> Result<Decision, Refusal> {
    let Some(asked) = state.questions.0.get(&answer.question) else {
        return Err(Refusal::not_found("open question"));
    };
    let now = context.ids.now();
    if asked.expires_at <= now {
        let late = closed(state, asked, &Ending::Expired, now);
        return Ok(Decision { change: TurnChange::Resume, already: true, ..Decision::only(late) });
    }
    if answer.answers.to_string().len() > QUESTION_ANSWERS_BYTES {
        let message = format!("answers have at most {QUESTION_ANSWERS_BYTES} bytes");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let form = form_of(asked).unwrap_or_else(Form::plain);
    if let Err(fault) = form.check(&answer.answers) {
        return Err(Refusal::new(ErrorCode::Unprocessable, fault));
    }
    let events = closed(state, asked, &Ending::Answered(&answer.answers, context.by), now);
    Ok(Decision { change: TurnChange::Resume, ..Decision::only(events) })
}

/// What is written about the questions whose time is over.
pub(super) fn expired(state: &State, now: Timestamp) -> Vec<Event> {
    let due = state.questions.open().filter(|asked| asked.expires_at <= now);
    due.flat_map(|asked| closed(state, asked, &Ending::Expired, now)).collect()
}

/// What is written about the open questions of a turn that ends: nothing of it stays open.
pub(super) fn voided(state: &State, by: &Principal, now: Timestamp) -> Vec<Event> {
    state.questions.open().flat_map(|asked| closed(state, asked, &Ending::Stopped(by), now)).collect()
}

fn form_of(asked: &QuestionAsked) -> Option<Form> {
    asked.form.as_ref().and_then(|form| Form::read(form).ok())
}

/// The end of a question, and the result of the call that asked it.
fn closed(state: &State, asked: &QuestionAsked, ending: &Ending<'_>, now: Timestamp) -> Vec<Event> {
    let (answers, by) = match ending {
        Ending::Answered(answers, by) => ((*answers).clone(), (*by).clone()),
        Ending::Expired => (Value::Null, gateway()),
        Ending::Stopped(by) => (Value::Null, (*by).clone()),
    };
    let (outcome, text) = match ending {
        Ending::Answered(answers, _) => (ToolOutcome::Ok, told(form_of(asked).as_ref(), answers)),
        Ending::Expired => (ToolOutcome::Error, UNANSWERED.to_owned()),
        Ending::Stopped(_) => (ToolOutcome::Cancelled, STOPPED.to_owned()),
    };
    let data = (!answers.is_null()).then(|| answers.clone());
    let (turn, question) = (asked.turn, asked.question);
    let mut events = vec![Event::QuestionAnswered(QuestionAnswered { turn, question, answers, by })];
    let calls = state.transcript.pending_calls();
    if let Some(call) = calls.into_iter().find(|pending| asked.call.as_ref() == Some(&pending.call)) {
        // The question's id was made when it was asked.
        let took = now.since(question.at());
        events.push(Event::ToolFinished(ToolFinished {
            turn,
            item: call.item,
            call: call.call,
            outcome,
            content: vec![Part::text(text)],
            data,
            truncated: false,
            output: None,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    events
}
